"""Every attack and input on which the product once failed has a test that holds the right behaviour.

The cases lie beside the repository and are no part of it; each is named here with its tests, or with the issue that it
waits for. Where the folder is absent, that each named test exists is checked all the same.
"""

from __future__ import annotations

import ast
import os
import re
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(os.environ.get("SEALMARKET_CASES") or ROOT.parent / "shared" / "cases")
HTTP, MARKET, SCENARIOS = "tests/test_http.py", "tests/integration/test_market.py", "contracts/Scenarios.t.sol"
LIMITS = "tests/enclave/sandbox/test_limits.py"
DIALECTS, TRAINING = "tests/readers/test_dialects.py", "tests/workloads/test_training_tables.py"
HELD: dict[str, tuple[str, ...]] = {
    "contracts/AuditPoC.t.sol": (
        f"{SCENARIOS}::test_consumer_provider_and_owner_in_one_take_from_nobody_and_use_nothing_for_free",
        f"{SCENARIOS}::test_owner_and_consumer_take_nothing_of_a_provider_beyond_its_order",
        f"{SCENARIOS}::test_a_provider_that_lies_or_is_silent_loses_enough_to_pay_the_nodes_and_the_consumer_nothing",
        f"{SCENARIOS}::test_a_provider_that_takes_its_stake_away_while_a_job_runs_loses_what_the_job_holds",
        f"{SCENARIOS}::test_decisions_of_another_epoch_count_for_nothing",
        f"{SCENARIOS}::test_what_a_removed_member_signed_before_counts_for_nothing_in_any_step",
        f"{SCENARIOS}::test_of_two_decisions_the_first_counts_and_who_signed_both_is_removed",
        f"{SCENARIOS}::test_withdrawal_and_quote_in_the_last_second_exclude_each_other",
        f"{SCENARIOS}::test_until_the_deadline_only_settling_counts_and_after_it_only_closing",
        f"{SCENARIOS}::test_nobody_but_consumer_and_payer_challenges_or_names_itself_so",
        "contracts/Matching.t.sol::test_a_sponsor_that_cancels_all_voids_what_it_signed_for_others",
        "contracts/Matching.t.sol::test_an_asset_stands_once_in_a_job",
        "contracts/Matching.t.sol::test_using_up_orders_by_matching_and_withdrawing_costs_the_hold_fee_each_time",
        "contracts/Matching.t.sol::test_an_owner_does_not_take_more_than_its_own_standing_price",
        "contracts/Matching.t.sol::test_a_costly_or_talkative_entry_takes_no_other_with_it",
        "contracts/Faults.t.sol::test_a_silent_committee_after_acceptance_costs_the_provider_nothing",
        "contracts/Faults.t.sol::test_an_acknowledged_settlement_counts_although_somebody_settled_first",
        "contracts/Faults.t.sol::test_a_new_price_fewer_uses_or_a_smaller_budget_stop_no_running_job",
    ),
    "http/p5_gzip_bomb.py": (
        f"{HTTP}::test_a_compressed_answer_is_refused_and_was_not_asked_for",
        f"{HTTP}::test_every_client_is_out_in_time_with_its_own_error",
    ),
    "http/p21_slow_store.py": (
        f"{HTTP}::test_a_server_that_drips_is_left_at_the_deadline",
        f"{HTTP}::test_every_client_is_out_in_time_with_its_own_error",
        f"{HTTP}::test_an_errors_body_is_read_up_to_a_bound",
    ),
    "http/p28_stalled_put.py": (
        "tests/backend/test_uploads.py::test_an_upload_that_stalls_ends_with_a_reason_and_leaves_nothing",
        "tests/backend/test_uploads.py::test_an_uploader_who_hangs_up_leaves_nothing",
        "tests/backend/test_ledger.py::test_a_peer_beyond_its_quota_is_refused_and_others_still_store",
    ),
    "inputs/anvil_pinned_reads.py": (
        "tests/integration/test_reading.py::test_values_read_at_a_final_block_fit_each_other_while_the_chain_mines",
    ),
    "inputs/faulty_rpc.py": (
        "tests/chain/test_faulty_rpc.py::test_what_is_wrong_is_said_and_index_follower_and_command_stop_in_order",
        "tests/chain/test_faulty_rpc.py::test_a_range_is_narrowed_whatever_the_refusal",
        "tests/integration/test_faulty_endpoints.py::test_a_job_settles_once_behind_each_fault",
    ),
    "inputs/t_lagging_logs.py": (
        "tests/chain/test_faulty_rpc.py::test_logs_that_a_replica_has_not_seen_are_missed_and_read_later",
        "tests/integration/test_chains.py::test_logs_that_a_replica_has_not_seen_are_missed_on_every_chain",
    ),
    "inputs/t_rewritten.py": (
        "tests/backend/test_index.py::test_an_index_that_is_taken_back_says_what_one_that_was_never_there_says",
        "tests/chain/test_faulty_rpc.py::test_an_index_follows_a_reorganisation_of_any_depth",
    ),
    "inputs/Usdt.t.sol": (
        "contracts/Ledger.t.sol::test_a_token_that_returns_nothing_moves_all_the_same",
        "contracts/Ledger.t.sol::test_a_charge_that_begins_later_strands_nothing",
        "contracts/Ledger.t.sol::test_a_holder_that_the_token_blocks_withdraws_to_another_address",
        "contracts/Ledger.t.sol::test_a_blocked_party_holds_up_no_job",
    ),
    "market/p1_escape_penalty.py": (
        "tests/oracle/test_hostile_input.py::"
        "test_a_garbage_quote_that_names_a_block_without_a_spelling_is_the_providers_fault",
    ),
    "market/p3_slash_theft.py": (
        "tests/acceptance/test_slow_workloads.py::"
        "test_a_workload_that_outsleeps_its_time_is_timed_out_and_the_provider_is_paid_for_it",
    ),
    "market/p6_fd_dos.py": (
        "tests/integration/test_oracle_process.py::"
        "test_1100_idle_connections_to_a_node_with_1024_descriptors_do_not_silence_it",
        "tests/serving/test_servers.py::test_1100_idle_connections_silence_nobody",
    ),
    "market/p7_node_bomb.py": (
        f"{HTTP}::test_a_compressed_answer_is_refused_and_was_not_asked_for",
        f"{HTTP}::test_an_answer_without_end_is_refused_at_its_limit",
        f"{HTTP}::test_every_client_is_out_in_time_with_its_own_error",
    ),
    "market/p8_strip.py": (
        "tests/client/test_verify.py::test_a_bundle_from_which_a_part_was_stripped_is_incomplete_and_names_it",
    ),
    "market/p13_redos.py": (
        "tests/structure/test_expressions.py::test_every_regular_expression_is_linear_by_rule_or_reviewed",
        "tests/attestation/test_bounds.py::"
        "test_no_input_within_the_bounds_takes_a_parser_longer_than_its_length_explains",
    ),
    "inputs/kds.py": (
        "tests/attestation/test_fleet.py::test_what_came_is_kept_when_another_step_is_throttled",
        "tests/attestation/test_fleet.py::test_the_command_says_what_came_and_what_to_do_about_the_rest",
    ),
    "inputs/pccs.py": (
        "tests/attestation/test_fleet.py::test_a_cache_with_its_own_certificate_is_asked_once_that_is_trusted",
        "tests/attestation/test_fleet.py::test_a_cache_that_is_behind_displaces_nothing",
    ),
    "inputs/mk_evidence.py": (
        "tests/attestation/test_agents.py::test_each_way_to_write_a_quote_down_gives_its_bytes",
        "tests/attestation/test_agents.py::test_an_event_log_as_an_array_counts_like_one_as_text",
        "tests/attestation/test_agents.py::test_an_extended_report_is_a_report_with_its_certificates",
        "tests/attestation/test_agents.py::test_an_endorsement_may_be_written_in_hex_or_base64",
        "tests/attestation/test_agents.py::test_a_report_that_an_agent_took_apart_is_put_together_again",
    ),
    "inputs/mk_csv.py": (
        f"{DIALECTS}::test_each_dialect_of_the_cases_has_an_expectation",
        f"{DIALECTS}::test_a_dialect_is_the_table_that_it_means",
        f"{TRAINING}::test_a_dialect_is_the_table_that_it_means",
    ),
    "inputs/t_csv.py": (
        f"{TRAINING}::test_classes_that_a_float_confuses_stay_apart",
        f"{TRAINING}::test_truth_values_are_one_and_zero",
        f"{TRAINING}::test_a_file_that_cannot_be_learnt_from_is_refused_before_payment_with_its_column",
        f"{DIALECTS}::test_a_file_with_no_certain_reading_is_refused_until_its_owner_states_one",
    ),
    "inputs/t_onnx.py": (
        f"{TRAINING}::test_two_values_or_what_is_no_number_are_classes_and_keep_their_labels",
        f"{TRAINING}::test_what_cannot_be_learnt_from_is_refused_with_the_reason",
        "tests/enclave/workload/test_train_gradient_boosting.py::"
        "test_the_models_classes_are_the_labels_of_the_table_and_its_metadata_says_what_it_is",
    ),
    "market/p14_redos_market.py": (
        "tests/oracle/test_suppliers.py::test_the_worst_document_ends_in_its_suppliers_row_at_a_bounded_cost",
    ),
    "market/p15b_collateral_redos.py": (
        "tests/oracle/test_suppliers.py::test_the_worst_document_ends_in_its_suppliers_row_at_a_bounded_cost",
        "tests/protocol/test_codec_total.py::test_nesting_is_bounded_whatever_the_interpreter_allows",
    ),
    "market/p17_kill_switch.py": (
        f"{MARKET}::test_a_location_that_is_no_text_halts_nobody",
        "tests/backend/test_index.py::test_a_log_that_does_not_read_holds_up_no_other_job",
        "tests/oracle/test_nodes.py::test_a_log_that_does_not_read_stops_no_node_and_no_other_job",
    ),
    "market/p18_drip.py": (
        f"{HTTP}::test_a_server_that_drips_is_left_at_the_deadline",
        "tests/client/test_nodes.py::"
        "test_a_node_that_holds_its_askers_up_costs_a_turn_over_many_jobs_its_patience_once",
    ),
    "market/p20_wallet_quota.py": (
        "tests/backend/test_signatures.py::"
        "test_unsigned_orders_in_a_contracts_name_are_refused_and_use_up_nothing_of_it",
        "tests/backend/test_signatures.py::test_contracts_that_answer_slowly_hold_up_only_so_many_threads",
        "tests/integration/test_foreign_contracts.py::test_a_contract_that_fails_refuses_and_moves_no_endpoint",
    ),
    "market/sb.py": (
        "tests/enclave/sandbox/test_attacks.py::test_a_call_that_only_an_attacker_makes_ends_the_workload",
        "tests/enclave/sandbox/test_attacks.py::test_files_of_other_jobs_and_of_the_system_cannot_be_read_or_listed",
    ),
    "market/sb_more.py": (
        "tests/enclave/sandbox/test_attacks.py::test_a_call_that_only_an_attacker_makes_ends_the_workload",
        "tests/enclave/sandbox/test_attacks.py::test_an_output_too_large_is_refused_before_it_fills_the_runtimes_memory",
        f"{LIMITS}::test_an_output_is_read_no_further_than_the_owners_allow_whatever_the_workload_declares",
        f"{LIMITS}::test_a_bomb_of_threads_is_ended",
        f"{LIMITS}::test_no_name_of_another_file_or_process_shows",
    ),
    "market/p24_rows_out.py": (
        "tests/acceptance/test_steps.py::test_rows_that_a_workload_labels_as_an_allowed_output_are_withheld",
    ),
    "market/test_audit_slow_workload.py": (
        "tests/acceptance/test_slow_workloads.py::"
        "test_a_workload_that_outsleeps_its_time_is_timed_out_and_the_provider_is_paid_for_it",
    ),
}
"""By case, the tests of its kind: ``file::name``."""
LATER = {
    "market/p26_journal_equivocation.py": "L",
}
"""By case, the issue that it belongs to."""
NO_CASES = {"README.md", "market/serve.py"}


def test_every_case_of_the_folder_is_held_by_a_test_or_belongs_to_an_issue() -> None:
    if not FOLDER.is_dir():
        pytest.skip("the folder of cases is not beside the repository: set SEALMARKET_CASES to it")
    files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    cases = {name for name in files if "__pycache__" not in name} - NO_CASES
    assert cases == HELD.keys() | LATER.keys()
    assert not HELD.keys() & LATER.keys()


@pytest.mark.parametrize("case", HELD)
def test_the_tests_that_hold_a_case_exist(case: str) -> None:
    missing = [test for test in HELD[case] if test.partition("::")[2] not in _tests_in(test.partition("::")[0])]
    assert missing == []


@lru_cache
def _tests_in(file: str) -> frozenset[str]:
    text = (ROOT / file).read_text()
    if file.endswith(".sol"):
        return frozenset(re.findall(r"function (test\w+)", text))
    return frozenset(node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))
