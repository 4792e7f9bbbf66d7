// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {
    Bargain,
    DecisionCore,
    Enclave,
    FailureReport,
    Fault,
    JobKey,
    JobSpec,
    Payout,
    SettledResult,
    Status
} from "../types/Jobs.sol";
import {Match} from "../types/Orders.sol";
import {Members, NodeSignature} from "../types/Committees.sol";
import {Interruption, Windows} from "../types/Money.sol";
import {IAssetRegistry} from "./IAssetRegistry.sol";

/// @title The life of a job
/// @notice
///   none ------matchJob------> Matched ----quote----> Quoted ---decide---> Accepted ---settle---> Settled
///   Matched  --cancel (consumer, payer)----------> Cancelled   Withdrawn
///   Matched  --close, overdue--------------------> Expired     NoQuote
///   Quoted   --decide, refusing------------------> Refused     by the outcome; accepting under changed terms:
///                                                              TermsRefused
///   Quoted   --close, overdue--------------------> Expired     CommitteeSilent
///   Accepted --settle with acknowledgement-------> Matured     None
///   Accepted --fail, cause 1---------------------> Failed      InputFailed
///   Accepted --fail, cause 2---------------------> Failed      WorkloadFailed
///   Accepted --fail, cause 3---------------------> Failed      WorkloadTimedOut
///   Accepted --fail, cause 4---------------------> Failed      ValidatorTimedOut
///   Accepted --fail, cause 5---------------------> Failed      ReaderTimedOut
///   Accepted --stop, reportMissing, postRelease--> Accepted
///   Accepted --endInterrupted, or close----------> Stopped     StoppedBeforeRelease, after a stop
///   Accepted --endInterrupted, or close----------> Expired     SharesMissing, after a report
///   Accepted --close, overdue--------------------> Expired     ProviderSilent
///   Settled  --acknowledge, or mature when overdue-> Matured   None
///   Settled  --settle with acknowledgement-------> Matured     None, if it settled alike
///   Settled  --challenge (consumer, payer)-------> Challenged
///   Challenged --answerChallenge, available------> Matured     None
///   Challenged --answerChallenge, unavailable----> Expired     ResultWithheld
///   Challenged --closeChallenge, overdue---------> Matured     None
/// Each transition except `mature`, `close`, `closeChallenge` and `endInterrupted` must come by the deadline of the
/// state it leaves; the first three only after it. The end states are Matured, Refused, Stopped, Failed, Expired,
/// Cancelled.
/// A stop and a report of missing shares leave the job Accepted, so that a settlement still counts. A report makes the
/// settle deadline now + decide window + settle window; releases may be posted until now + decide window.
///
/// The fault table. libraries/FaultTable.sol is the same table, and the only code that divides a job's money.
/// O: the owners' prices. C: the flat compute price. U = unitPrice * maxUnits. u = unitPrice * units reported. P: the
/// penalty, at least fee * (2 * refusing quorum + members). H: the hold fee. F: the oracle fees set aside. f: those
/// that the decision used. B: the bond of an answered challenge. a: the fees of its answer. L: the timeout limit.
/// T: the least of the timeout fee, C + U and L. X: the smaller of L - T and O; the owners share X in proportion to
/// their prices.
/// At the match the payer's balance locks O + C + U + F + H and the provider's stake locks O + P. At acceptance
/// F - f + H returns to the payer. At settlement the payer gets U - u and the owners get O.
///   fault                 payer gets             provider gets  stake gets  burned     owners get  counter  uses
///   before acceptance, of O + C + U + F - f + H and O + P:
///   NoQuote               O + C + U + F + H      0              O           P          0           expired  return
///   PlatformRefused       O + C + U + F + H      0              O           P - f      0           refused  return
///   RequestRefused        O + C + U + F - f      0              O + P       H          0           -        return
///   TermsRefused          O + C + U + F - f + H  0              O + P       0          0           -        return
///   InputRefused          O + C + U + F - f + H  0              O + P       0          0           -        return
///   EvidenceWithheld      O + C + U + F + H      0              O           P - f      0           refused  return
///   CommitteeSilent       O + C + U + F + H      0              O + P       0          0           -        return
///   Withdrawn             O + C + U + F          0              O + P       H          0           -        return
///   after acceptance, of O + C + U and O + P:
///   StoppedBeforeRelease  O + C + U              0              O + P       0          0           -        return
///   SharesMissing         O + C + U              0              O + P       0          0           -        return
///   InputFailed           O + C + U              0              O + P       0          0           -        return
///   ReaderTimedOut        O + C + U              0              O + P       0          0           -        return
///   WorkloadFailed        U - u                  C + u          O + P       0          O           failed   stay
///   WorkloadTimedOut      O + C + U - T - X      T              O + P       0          X           failed   stay
///   ValidatorTimedOut     O + C + U - T - X      T              O + P       0          X           failed   stay
///   ProviderSilent        O + C + U + f          0              0           P - f      O           expired  stay
///   after settlement, of C + u, O + P and B:
///   None                  0                      C + u + B - a  O + P       0          -           settled  stay
///   ResultWithheld        O + C + u + f          0              0           P - a - f  -           expired  stay
/// B and a are 0 unless the committee answered a challenge: the signers get a, and under ResultWithheld the challenger
/// gets B whole. Without an answer the bond returns to the challenger. After acceptance f is the fees of a threshold of
/// signatures. What is burned stays in the contract; no call can move it. Beside the table: a report of missing shares
/// takes one fee for each member from the provider's free balance, pays one to each node whose release is posted, and
/// returns the rest (`returnUnspent`). InputFailed suspends the version that failed.
/// @dev The job is one slot, keyed by the request hash: status, deadline, and a commitment to (job id, provider, decide
/// window, bargain, stage). Later steps pass the JobKey, the Bargain (a quote only its hash) and what the stage added,
/// all of which follow from the JobSpec; nothing else is stored. Trust: the registry and the committee
/// named at deployment. The guardian may pause new matches and nothing else. Liveness only: a
/// transaction is sent for each step; from every state that is no end, anyone can end the job after its deadline.
interface IJobs {
    /// @notice A job was made, one more under the compute order with this hashStruct. `feesHeld` is what the payer set
    /// aside for oracle signatures.
    event JobMatched(
        bytes32 indexed jobId,
        address indexed consumer,
        address indexed provider,
        JobSpec spec,
        uint256 feesHeld,
        bytes32 computeOrder
    );
    event JobQuoted(bytes32 indexed jobId, bytes32 evidenceHash, uint40 deadline);
    /// @notice A quorum decided; bit i of `signers` is member i. An accepting outcome is followed by JobEnded with
    /// TermsRefused when the terms no longer let the job stand. `feesReturned`, unused oracle fees and the hold fee,
    /// went back to the payer on acceptance.
    event JobDecided(
        bytes32 indexed jobId, DecisionCore core, uint256 signers, uint40 deadline, uint256 feesReturned
    );
    /// @notice A quorum promised not to release. The job ends by it at the settle deadline unless it settles or fails.
    event JobStopped(bytes32 indexed jobId, bytes32 evidenceHash, uint256 reasons, uint256 signers);
    /// @notice The enclave joined no key and leaves out the nodes in `excluded`. `setAside` was taken from the
    /// provider's free balance, and what that lacked from its stake; 0 when this was not the first report.
    event SharesReportedMissing(
        bytes32 indexed jobId, uint16 excluded, uint40 sharesDeadline, uint40 settleDeadline, uint256 setAside
    );
    /// @notice Node `index` earned a fee; `sealed_` are its shares, one for each asset, with its signature.
    event ReleasePosted(bytes32 indexed jobId, uint8 indexed index, bytes[] sealed_, bytes32 r, bytes32 vs);
    /// @notice What was set aside for nodes that posted nothing went back to the provider.
    event UnspentReturned(bytes32 indexed requestHash, address indexed provider, address token, uint256 amount);
    /// @notice The owner paid for lifting a suspension; the amount is burned.
    event SuspensionPaid(bytes32 indexed assetId, uint32 version, address indexed token, uint256 burned);
    /// @notice The enclave settled. Owners were credited their prices and the payer `refunded`; `payable_` is what
    /// the provider gets when the job matures.
    event JobSettled(
        bytes32 indexed jobId, bytes32 resultHash, bytes32 receiptHash, uint32 units, uint256 refunded, uint256 payable_
    );
    event JobFailed(bytes32 indexed jobId, uint8 cause, uint8 assetIndex, uint32 units, bytes32 receiptHash);
    event JobChallenged(bytes32 indexed jobId, address indexed challenger, uint256 bond, uint40 deadline);
    /// @notice The committee answered; `fees` went to the signers, `bondReturned` to the challenger.
    event ChallengeAnswered(
        bytes32 indexed jobId, bool available, uint256 signers, uint256 fees, uint256 bondReturned
    );
    /// @notice The job reached its end; `fault` is the row of the table, `evidenceHash` 0 if none was posted or if the
    /// end came after settling.
    event JobEnded(bytes32 indexed jobId, Status status, Fault fault, bytes32 evidenceHash, Payout payout);
    event MatchingPaused(bool paused);
    /// @notice An entry of a batch failed with `reason` (revert data); the others took effect.
    event BatchEntryFailed(uint256 indexed index, bytes reason);

    /// @notice The guardian has paused new matches.
    error MatchingIsPaused();
    error OnlyGuardian(address got, address expected);
    error OnlyCommittee(address got, address expected);
    /// @notice The deployment's parts do not name each other.
    error WrongMarket(address got, address expected);
    /// @notice A field of the request or order does not fit the others; `field` is its name.
    error Mismatch(bytes32 field, uint256 got, uint256 expected);
    /// @notice A number is outside its bounds; `field` is its name.
    error OutOfBounds(bytes32 field, uint256 got, uint256 least, uint256 most);
    /// @notice A price is higher than the request allows.
    error PriceTooHigh(bytes32 field, uint256 got, uint256 most);
    /// @notice The grade does not reach what request and terms demand.
    error GradeTooLow(uint8 got, uint8 least);
    /// @notice The asset's shares were made for another committee than those of the first asset.
    error EpochsDiffer(bytes32 assetId, uint32 got, uint32 expected);
    /// @notice An asset stands once in a job; it would evade what one job may take of it.
    error AssetTwice(bytes32 assetId, uint256 first, uint256 second);
    /// @notice The provider's capability document is none that the request accepts.
    error CapabilityNotAccepted(bytes32 capabilityHash, bytes32 capabilities);
    /// @notice The epoch is announced and not yet in force.
    error EpochNotActive(uint32 epoch, uint256 timestamp, uint40 activeAt);
    /// @notice The epoch ends at `endsAt`, and the job's last window would close at `until`.
    error EpochEnds(uint32 epoch, uint256 until, uint40 endsAt);
    /// @notice The job is not in the state that this step leaves.
    error UnexpectedStatus(bytes32 requestHash, Status got, Status expected);
    /// @notice The window of this step has passed.
    error TooLate(bytes32 requestHash, uint256 timestamp, uint40 deadline);
    /// @notice The window of the step before has not passed.
    error TooEarly(bytes32 requestHash, uint256 timestamp, uint40 deadline);
    /// @notice The key, the bargain, or what was passed beside them, is not what the job was made from.
    error WrongCommitment(bytes32 requestHash, uint208 got, uint208 expected);
    error ZeroEvidenceHash();
    error DecisionExpired(uint256 timestamp, uint64 expiry);
    error UnknownOutcome(uint8 got, uint8 highest);
    /// @notice Exactly the quorum's number of signatures is taken, each is paid.
    error WrongSignatureCount(uint256 got, uint256 expected);
    /// @notice Signatures are in strictly rising order of member index, of members that exist and were not removed.
    error BadSignerIndex(uint8 got, uint256 position);
    /// @notice The signature at `index` is not that member's.
    error WrongNode(uint8 index, address got, address expected);
    /// @notice The list does not hash to the epoch's committee.
    error WrongCommittee(uint32 epoch, bytes32 got, bytes32 expected);
    error OnlyProvider(address got, address expected);
    error AlreadyStopped(bytes32 requestHash);
    /// @notice Neither a stop nor missing shares keep this job from going on (yet).
    error NotInterrupted(bytes32 requestHash);
    /// @notice In a BatchEntryFailed: not enough gas was left for the entry.
    error NotEnoughGas();
    /// @notice The signature is not the accepted enclave's.
    error WrongEnclave(address got, address expected);
    error TooManyUnits(uint32 got, uint32 most);
    error UnknownCause(uint8 got);
    error NoSuchAsset(uint8 index, uint256 assets);

    /// @notice Make a job of signed orders, at the offers' prices and within the limits of each; what the request
    /// allowed beyond the prices is never locked. Anyone. Reserves uses and budget, locks escrow and stake.
    /// @return jobId EIP-712 digest of the JobSpec that JobMatched carries.
    function matchJob(Match calldata deal) external returns (bytes32 jobId);

    /// @notice Post the hash of evidence, keys and block hash, once, before any oracle looks at it.
    /// @param bargainHash hashStruct of the job's Bargain.
    /// @param signature The provider's over Quote(jobId, evidenceHash); empty when the provider calls.
    function quote(JobKey calldata key, bytes32 bargainHash, bytes32 evidenceHash, bytes calldata signature) external;

    /// @notice Carry out a quorum's decision. Accepting takes threshold signatures, refusing max(t, n - t + 1);
    /// exactly that many. If the terms no longer let the job stand, an acceptance is carried out as TermsRefused.
    function decide(
        JobKey calldata key,
        Bargain calldata bargain,
        DecisionCore calldata core,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) external;

    /// @notice Record that an accepted job's shares were not released and never will be: max(t, n - t + 1) signatures
    /// over Stop(jobId, evidenceHash, epoch, reasons). Once. A settlement or failure still counts until its deadline.
    function stop(
        JobKey calldata key,
        Bargain calldata bargain,
        Enclave calldata enclave,
        uint256 reasons,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) external;

    /// @notice Report that the accepted enclave joined no key, by its signature over SharesMissing(jobId, evidenceHash,
    /// excluded). The provider only. The first report sets aside one oracle fee for each member, from the
    /// provider's free balance and then from the stake that no job holds, and opens the window for releases; later ones
    /// may name more nodes.
    /// @param excluded Bit i: node i sent a false share.
    function reportMissing(
        JobKey calldata key,
        Bargain calldata bargain,
        Enclave calldata enclave,
        uint16 excluded,
        bytes calldata enclaveSignature
    ) external;

    /// @notice Put a node's signed release on chain, within the window after a report. Anyone; the node earns a fee.
    /// @param sealed_ The node's shares as it sealed them to the enclave's key, one for each asset of the job.
    /// @param r And `vs`: the node's signature over its release (libraries/Releases.sol).
    function postRelease(
        JobKey calldata key,
        Bargain calldata bargain,
        Enclave calldata enclave,
        Members calldata members,
        uint8 index,
        bytes[] calldata sealed_,
        bytes32 r,
        bytes32 vs
    ) external;

    /// @notice End an accepted job that cannot go on: after a stop the provider, or anyone after the settle deadline;
    /// after the window for releases, anyone, if fewer than the threshold are left.
    function endInterrupted(JobKey calldata key, Bargain calldata bargain, Enclave calldata enclave) external;

    /// @notice Give the provider of a job what it set aside for nodes that posted nothing. Anyone, after the window.
    function returnUnspent(bytes32 requestHash) external;

    /// @notice Allow new matches of a suspended version. Its owner, who pays the oracle fees of a job, burned.
    function liftSuspension(bytes32 assetId, uint32 version) external;

    /// @notice Settle by the accepted enclave's signature over Settlement(jobId, resultHash, receiptHash, units, last
    /// = true). Pays the owners and returns what was not metered. Anyone.
    /// @param acknowledgement The consumer's signature over Acknowledgement(jobId, resultHash): the provider is paid
    /// at once, also if another account settled the job alike before. May be empty.
    function settle(
        JobKey calldata key,
        Bargain calldata bargain,
        Enclave calldata enclave,
        SettledResult calldata result,
        bytes calldata enclaveSignature,
        bytes calldata acknowledgement
    ) external;

    /// @notice End a job by the failure that the accepted enclave signed: Failure(jobId, cause, assetIndex, units,
    /// receiptHash). Anyone.
    function fail(
        JobKey calldata key,
        Bargain calldata bargain,
        Enclave calldata enclave,
        FailureReport calldata report,
        bytes calldata enclaveSignature
    ) external;

    /// @notice End a Matched, Quoted or Accepted job whose window has passed, an interrupted one by its own row.
    /// Anyone.
    /// @param enclave All zero if Matched; only `evidenceHash` if Quoted; as accepted if Accepted.
    function close(JobKey calldata key, Bargain calldata bargain, Enclave calldata enclave) external;

    /// @notice Withdraw a job before it was quoted; the hold fee is burned. Consumer or payer.
    function cancel(JobKey calldata key, Bargain calldata bargain) external;

    /// @notice Confirm that the result arrived: pays the provider. Anyone, with the consumer's signature over
    /// Acknowledgement(jobId, resultHash), which may be empty when the consumer calls.
    function acknowledge(
        JobKey calldata key,
        Bargain calldata bargain,
        SettledResult calldata result,
        bytes calldata signature
    ) external;

    /// @notice Pay the provider of a settled job whose challenge window has passed. Anyone.
    function mature(JobKey calldata key, Bargain calldata bargain, SettledResult calldata result) external;

    /// @notice Claim, against a bond from the caller's free balance, that the result's ciphertext is unavailable.
    /// Consumer or payer.
    function challenge(JobKey calldata key, Bargain calldata bargain, SettledResult calldata result) external;

    /// @notice Answer a challenge: ChallengeAnswer(jobId, resultHash, available), t signatures if available, else
    /// max(t, n - t + 1). If available the bond, less the answer's fees, goes to the provider.
    function answerChallenge(
        JobKey calldata key,
        Bargain calldata bargain,
        SettledResult calldata result,
        address challenger,
        bool available,
        Members calldata members,
        NodeSignature[] calldata signatures
    ) external;

    /// @notice End a challenge that the committee left unanswered: the provider is paid, the bond returns. Anyone.
    function closeChallenge(
        JobKey calldata key,
        Bargain calldata bargain,
        SettledResult calldata result,
        address challenger
    ) external;

    /// @notice Status, deadline and commitment of the job of a request.
    function jobOf(bytes32 requestHash) external view returns (Status status, uint40 deadline, uint208 commitment);

    /// @notice What became of an accepted job's shares, if anything was reported; all zero otherwise.
    function interruptionOf(bytes32 requestHash) external view returns (Interruption memory);

    /// @notice What a match would set aside for holding others' money and rights, at `fee` for an oracle signature.
    function holdFee(uint256 owners, uint256 minPenalty, uint32 quoteWindow, uint32 decideWindow, uint64 fee)
        external
        view
        returns (uint256);

    /// @notice Bond of a challenge in an epoch and token: the most that its answer costs, and the fixed part of a hold
    /// fee.
    function bondOf(uint32 epoch, address token) external view returns (uint256);

    /// @notice Where assets and their terms are recorded.
    function registry() external view returns (IAssetRegistry);

    /// @notice Whether the guardian has paused new matches.
    function paused() external view returns (bool);

    /// @notice The shortest windows that a request may ask for, in seconds; the longest is 30 days each.
    function minimumWindows() external view returns (Windows memory);

    /// @notice The fixed part of a hold fee, as a multiple of the fee of one oracle signature.
    function requestFeeFactor() external view returns (uint16);

    /// @notice The hold fee of a second, in 10^-18 of what is held.
    function holdRate() external view returns (uint64);

    /// @notice Seconds after which a block of this chain is final.
    function finality() external view returns (uint32);

    /// @notice Seconds of every settle window that are kept for moving bytes.
    function transferAllowance() external view returns (uint32);
}
