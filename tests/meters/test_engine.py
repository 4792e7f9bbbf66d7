"""A meter counts what the engine counts, for each vocabulary that it knows; both read texts that are hard to cut."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealmarket.workloads.cuts import CUTS
from sealmarket.workloads.errors import FetchFailed
from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.local_session import LocalSession
from sealmarket.workloads.meters import make_meter
from sealmarket.workloads.vocabularies import _FOUND, _SURE
from tests.meters.models import model as file_of
from tests.meters.models import of_bytes, of_pieces
from tests.workloads.learning import load as load_template
from tests.workloads.trained import KEPT, locked

pytestmark = pytest.mark.long
BESIDE, ALONE = (Path(__file__).with_name(f"{name}.py") for name in ("beside", "alone"))
RUNS = load_template("gguf-chat", "runs")
ONE_OF_EACH = [next(name for name in CUTS if CUTS[name] is cut) for cut in dict.fromkeys(CUTS.values())]
PARTS = json.loads(Path(__file__).with_name("hard_texts.json").read_text("utf-8"))
ALIKE = [
    " ",
    "a",
    "A",
    "aA",
    "1",
    "!",
    "\n",
    "\n ",
    " \n",
    "\r\n",
    "\n/",
    "中",
    "é",
    "\u3000",
    "\u0301",
    "'s",
    " a",
    "~",
]
CHANCE = random.Random(5)
TEXTS = PARTS + ["".join(CHANCE.choices(PARTS, k=CHANCE.randint(2, 14))) for _ in range(600)]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Where the engine and the meter's tokenizer are installed."""
    folder = tmp_path_factory.mktemp("beside")
    (folder / "small.gguf").write_bytes(file_of(of_bytes("gpt-2", ["small"])))
    try:
        bundle = locked("gguf-chat", folder)
        make_meter(folder / "meter", folder / "small.gguf")
        lock_environment(folder / "meter", KEPT.wheels(folder / "meter"))
        engine = KEPT.environment(bundle, folder / "gguf-chat")
        counting = KEPT.environment(read_bundle(folder / "meter"), folder / "meter")
    except FetchFailed as error:
        pytest.skip(f"the engine or the tokenizer cannot be fetched here: {error}")
    return [str(counting), str(engine)]


@contextmanager
def beside(paths: list[str], folder: Path, header: dict[str, Any], most: int = 1 << 53) -> Iterator[Any]:
    """A process with the engine and the meter of a model: texts in, counts of both out. ``most``: see the meter."""
    folder.mkdir()
    (folder / "model.gguf").write_bytes(file_of(header))
    make_meter(folder / "meter", folder / "model.gguf")
    command = [sys.executable, "-B", str(BESIDE), str(folder / "model.gguf"), str(folder / "meter/code"), str(most)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": ":".join(paths)}
    ) as process:
        asked, answered = process.stdin, process.stdout
        assert asked is not None
        assert answered is not None

        def counts(texts: Sequence[str]) -> tuple[list[int], list[int]]:
            asked.write(json.dumps(list(texts)) + "\n")
            asked.flush()
            engine, counted = json.loads(answered.readline())
            return engine, counted

        yield counts
        asked.close()


def require_alike(counts: Any) -> None:
    engine, counted = counts(TEXTS)
    differ = [(text, one, other) for text, one, other in zip(TEXTS, engine, counted, strict=True) if one != other]
    assert differ == []


@pytest.mark.parametrize("cut", ONE_OF_EACH)
def test_bytes_are_joined_as_the_engine_joins_them(paths: list[str], tmp_path: Path, cut: str) -> None:
    with beside(paths, tmp_path / "one", of_bytes(cut, TEXTS)) as counts:
        require_alike(counts)


def test_each_name_of_a_way_to_cut_is_the_engines(paths: list[str], tmp_path: Path) -> None:
    for name in CUTS:
        with beside(paths, tmp_path / name, of_bytes(name, TEXTS[:120])) as counts:
            engine, counted = counts(TEXTS[:120])
            assert (name, counted) == (name, engine)


def test_bytes_that_a_vocabulary_lacks_are_dropped_and_join_nothing(paths: list[str], tmp_path: Path) -> None:
    """SmolLM2's lacks eight that a text can have."""
    with beside(paths, tmp_path / "one", of_bytes("smollm", TEXTS, drop="ĄĆñx")) as counts:
        require_alike(counts)


@pytest.mark.parametrize("begins", [None, True, False])
@pytest.mark.parametrize("ends", [None, True])
@pytest.mark.parametrize("kind", ["llama-bpe", "qwen2", "llama"])
def test_tokens_that_begin_and_end_a_prompt_are_the_engines(
    paths: list[str], tmp_path: Path, kind: str, begins: bool | None, ends: bool | None
) -> None:
    wanted = {"tokenizer.ggml.add_bos_token": begins, "tokenizer.ggml.add_eos_token": ends}
    more: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    made = of_pieces(1, TEXTS[:90], **more) if kind == "llama" else of_bytes(kind, TEXTS[:90], **more)
    with beside(paths, tmp_path / "one", made) as counts:
        engine, counted = counts(TEXTS[:20])
        assert counted == engine


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("inside", [True, False])
def test_pieces_are_joined_as_the_engine_joins_them(paths: list[str], tmp_path: Path, seed: int, inside: bool) -> None:
    more = {"tokenizer.ggml.add_space_prefix": False} if seed % 2 else {}
    with beside(paths, tmp_path / "one", of_pieces(seed, TEXTS, inside=inside, **more)) as counts:
        require_alike(counts)


@pytest.mark.parametrize("name", ["Phi-3-mini", "phi3", "other"])
def test_a_model_that_is_named_phi_3_drops_blanks_behind_special_tokens(
    paths: list[str], tmp_path: Path, name: str
) -> None:
    made = of_pieces(9, TEXTS)
    for place, kind in ((5, 1), (6, 1)):
        made["tokenizer.ggml.token_type"][place] = kind
    with beside(paths, tmp_path / "one", made | {"general.name": name}) as counts:
        require_alike(counts)


@pytest.mark.parametrize("turn", range(8))
def test_texts_that_the_engine_takes_for_special_tokens_are_counted_as_one(
    paths: list[str], tmp_path: Path, turn: int
) -> None:
    """Whatever the model says of them; of those with one role it takes one, where the model has one."""
    found = [texts.split()[turn] for texts in _FOUND.values() if turn < len(texts.split())]
    named = sorted({*_SURE.split(), *found})
    made = of_pieces(turn, TEXTS[:90])
    for text in named:
        if text not in made["tokenizer.ggml.tokens"]:
            made["tokenizer.ggml.tokens"].append(text)
            made["tokenizer.ggml.token_type"].append(1)
            made["tokenizer.ggml.scores"].append(-1.0)
    texts = [f"a {text}\n{text}{text[:-1]}b" for text in named]
    with beside(paths, tmp_path / "one", made) as counts:
        engine, counted = counts(texts)
        assert [*zip(texts, counted, strict=True)] == [*zip(texts, engine, strict=True)]


@given(st.lists(st.text(max_size=30) | st.sampled_from(PARTS), max_size=8).map("".join))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def require_alike_always(counts: Any, text: str) -> None:
    engine, counted = counts([text.replace("\0", "")])
    assert counted == engine


@pytest.mark.parametrize("kind", ["llama-bpe", "deepseek-v3", "llama"])
def test_no_text_is_counted_otherwise(paths: list[str], tmp_path: Path, kind: str) -> None:
    made = of_pieces(3, TEXTS) if kind == "llama" else of_bytes(kind, TEXTS)
    with beside(paths, tmp_path / "one", made) as counts:
        require_alike_always(counts=counts)


def test_a_prompt_whose_bytes_show_that_it_has_too_many_tokens_is_not_tokenised(
    paths: list[str], tmp_path: Path
) -> None:
    """A mebibyte in one word, of a user that reserved ten tokens. The number is that of the bytes, not of tokens."""
    text = "a" * (1 << 20)
    for kind in ("llama-bpe", "llama"):
        made = of_pieces(3, TEXTS) if kind == "llama" else of_bytes(kind, TEXTS)
        longest = max(len(one.encode()) for one in made["tokenizer.ggml.tokens"])
        with beside(paths, tmp_path / kind, made, most=10) as counts:
            assert counts([text, "a"])[1][0] == len(text) // longest + 1


def alone(paths: list[str], what: str, path: Path, texts: list[str], stack: int = 8 << 20) -> list[float]:
    """Seconds of a processor that the engine, or a meter, takes for each text; with so many bytes of stack."""
    ended = subprocess.run(
        [sys.executable, "-B", str(ALONE), what, str(path)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(paths)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_STACK, (stack, stack)),
    )
    assert ended.returncode == 0, f"ended with {ended.returncode}: {ended.stderr[-500:]}"
    seconds: list[float] = json.loads(ended.stdout)
    return seconds


@pytest.mark.parametrize("cut", ONE_OF_EACH)
def test_the_longest_runs_that_the_workload_takes_fit_a_quarter_of_the_engines_stack(
    paths: list[str], tmp_path: Path, cut: str
) -> None:
    runs = [(unit * RUNS.LONGEST)[: RUNS.LONGEST] for unit in ALIKE]
    texts = [f" {one}{other}1 a" for one in runs for other in runs]
    texts = [text for text in texts if not RUNS.too_long(text, "gpt2", cut)]
    assert len(texts) > 20
    if cut in RUNS.BY_CODE:
        texts += [unit * 150_000 + "1" for unit in ALIKE]
    (tmp_path / "model.gguf").write_bytes(file_of(of_bytes(cut, TEXTS[:90])))
    alone(paths, "engine", tmp_path / "model.gguf", texts, stack=2 << 20)


def test_a_text_that_would_end_the_engines_process_is_refused_by_the_workload(paths: list[str], tmp_path: Path) -> None:
    bundle = locked("gguf-chat", tmp_path)
    weights = file_of(of_bytes("gpt-4o", TEXTS[:90], **{"tokenizer.chat_template": "{{ messages[0].content }}"}))
    values = bundle.manifest.check_parameters({"context": 256})
    with LocalSession(bundle, Path(paths[1]), {"model": weights}, values) as session:
        for times in (30_000, 200_000):
            body = json.dumps({"prompt": " " * times + "1", "max_tokens": 1}).encode()
            said = json.loads(b"".join(session.ask("completions", body, 1 << 20)))
            assert said["error"]["param"] == "prompt"
            assert "in a row" in said["error"]["message"]
        for schema in ({"pattern": r"^\d$"}, {"pattern": "d"}, {"maxLength": 3000}):
            shape = {"type": "json_schema", "json_schema": {"schema": {"type": "string"} | schema}}
            asked = {"messages": [{"role": "user", "content": "hi"}], "response_format": shape}
            said = json.loads(b"".join(session.ask("chat", json.dumps(asked).encode(), 1 << 20)))
            assert said["error"]["param"] == "response_format"
        body = json.dumps({"prompt": "hello", "max_tokens": 1}).encode()
        assert "choices" in json.loads(b"".join(session.ask("completions", body, 1 << 20)))


@pytest.mark.parametrize("cut", [*ONE_OF_EACH, "llama"])
def test_no_run_costs_a_meter_more_than_in_proportion_to_its_length(paths: list[str], tmp_path: Path, cut: str) -> None:
    """Eighty thousand blanks once took one cut 19 seconds: four times as many take 4 times as long, and not 16."""
    made = of_pieces(3, TEXTS) if cut == "llama" else of_bytes(cut, TEXTS)
    (tmp_path / "model.gguf").write_bytes(file_of(made))
    make_meter(tmp_path / "meter", tmp_path / "model.gguf")
    few, many = ([(unit * n)[:n] + end for unit in ALIKE for end in ("", "1", "a")] for n in (10_000, 40_000))
    seconds = alone(paths, "meter", tmp_path / "meter/code", few + many)
    slow = [
        (text[:4], before, after)
        for text, before, after in zip(few, seconds, seconds[len(few) :], strict=False)
        if after > max(0.3, 9 * before)
    ]
    assert slow == []
