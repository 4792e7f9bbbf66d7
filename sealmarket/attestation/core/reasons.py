"""Why evidence is refused: one typed reason for each rule, with a number that never changes.

The name goes to people and JSON, the number to signed decisions and to the chain. Numbers are grouped: 1-29
any TEE (and 210-219), 30-79 Intel, 80-119 AMD, 120-149 Arm, 150-179 NVIDIA, 180-199 Nitro, 200-209 Azure. From 220
on they are the market's own: :mod:`sealmarket.protocol.reasons`.
Retired numbers stay retired.
"""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """One rule that evidence failed. ``value`` is its name, ``code`` its stable number, ``remedy`` what to do."""

    code: int
    remedy: str

    def __new__(cls, name: str, code: int, remedy: str) -> Reason:
        member = object.__new__(cls)
        member._value_ = name
        member.code = code
        member.remedy = remedy
        return member

    # Any TEE.
    MALFORMED = "malformed", 1, "collect the evidence again; these bytes do not follow the vendor's layout"
    TRUNCATED = "truncated", 2, "send the whole evidence; some of its end is missing"
    TRAILING_BYTES = "trailing_bytes", 3, "cut the evidence to the length that its own fields give"
    NON_CANONICAL = (
        "non_canonical",
        4,
        "send the evidence as the device wrote it; this is a re-encoding of it",
    )
    UNSUPPORTED_FORMAT = "unsupported_format", 5, "use one of the supported evidence formats and versions"
    TEE_MISMATCH = "tee_mismatch", 6, "run on the TEE that the offer promised"
    ENDORSEMENT_MISSING = "endorsement_missing", 7, "supply the vendor's certificates, CRLs or collateral"
    ENDORSEMENT_MALFORMED = "endorsement_malformed", 8, "fetch the vendor's endorsements again"
    ENDORSEMENT_EXPIRED = (
        "endorsement_expired",
        9,
        "fetch fresh endorsements, or correct the verifier's clock",
    )
    ENDORSEMENT_FUTURE = (
        "endorsement_future",
        10,
        "correct the verifier's clock; this was signed later than it says",
    )
    UNTRUSTED_ROOT = "untrusted_root", 11, "use evidence that ends in a pinned vendor root"
    CHAIN_INVALID = "chain_invalid", 12, "supply the vendor's own certificate chain for this platform"
    CERTIFICATE_REVOKED = (
        "certificate_revoked",
        13,
        "replace the platform or renew its certificate with the vendor",
    )
    CRL_INVALID = "crl_invalid", 14, "supply the vendor's current revocation lists for exactly this chain"
    SIGNATURE_INVALID = "signature_invalid", 15, "collect the evidence again; it is altered or forged"
    SIGNER_PURPOSE = "signer_purpose", 16, "supply an object signed by the certificate made for that purpose"
    REPORT_DATA_MISMATCH = "report_data_mismatch", 17, "collect evidence over exactly the expected 64 bytes"
    GRADE_TOO_LOW = "grade_too_low", 18, "use real hardware, or accept simulated evidence by name"
    MEASUREMENT_NOT_ALLOWED = "measurement_not_allowed", 19, "run an allowed image, or allow this measurement"
    DEBUG = "debug", 20, "launch without debug; its memory can be read by the host"
    PLATFORM_NOT_ALLOWED = "platform_not_allowed", 21, "run on a named platform, or name this one"
    PLATFORM_UNIDENTIFIED = "platform_unidentified", 22, "use evidence that names its platform"
    CUSTODY_TOO_LOW = "custody_too_low", 23, "run on a platform held in stronger custody"
    GENERATION_NOT_ALLOWED = "generation_not_allowed", 24, "run on an allowed CPU generation"
    MITIGATION_MISSING = "mitigation_missing", 25, "update firmware and turn the mitigation on"
    EVIDENCE_STALE = "evidence_stale", 26, "collect new evidence"
    EVIDENCE_AGE_UNKNOWN = "evidence_age_unknown", 27, "say when it was collected, or check a nonce"
    TCB_STATUS_TOO_LOW = "tcb_status_too_low", 28, "update firmware and microcode, or accept this status"
    ADVISORY_NOT_ALLOWED = "advisory_not_allowed", 29, "mitigate the advisory, or allow it by name"

    # Intel SGX and TDX.
    PCK_MISSING = "pck_missing", 30, "send a quote with its PCK chain, or collateral that holds it"
    PCK_EXTENSION = "pck_extension", 31, "use a genuine PCK certificate"
    COLLATERAL_TEE = "collateral_tee", 32, "fetch collateral for this TEE"
    FMSPC_MISMATCH = "fmspc_mismatch", 33, "fetch TCB info for this platform's FMSPC"
    PCEID_MISMATCH = "pceid_mismatch", 34, "fetch TCB info for this platform's PCEID"
    QE_REPORT_SIGNATURE = "qe_report_signature", 35, "collect the quote again; the QE report is not the PCK's"
    QE_BINDING = "qe_binding", 36, "collect the quote again; the attestation key is not the QE's"
    QE_IDENTITY = "qe_identity", 37, "use Intel's quoting enclave"
    TCB_NO_LEVEL = "tcb_no_level", 38, "update the platform; it is older than every level Intel lists"
    TCB_REVOKED = "tcb_revoked", 39, "replace or re-provision the platform; Intel revoked this level"
    EVALUATION_NUMBER = "evaluation_number", 40, "fetch collateral of a newer TCB evaluation"
    EVALUATION_MIXED = "evaluation_mixed", 41, "fetch TCB info and QE identity of one evaluation"
    TDX_MODULE = "tdx_module", 42, "use Intel's TDX module"
    SEPT_VE_DISABLE = "sept_ve_disable", 43, "launch with SEPT_VE_DISABLE, or allow its absence"
    MIGRATABLE = "migratable", 44, "launch a TD that cannot migrate"
    PROFILING = "profiling", 45, "launch without profiling; it leaks what the TD does"
    TD_ATTRIBUTES = "td_attributes", 46, "launch without these attributes, or allow them by name"
    SERVICE_TD = "service_td", 47, "launch without a service TD"
    SGX_ATTRIBUTES = "sgx_attributes", 48, "launch an initialised enclave without provisioning keys"
    RTMR_REPLAY = "rtmr_replay", 49, "send the event log that belongs to this quote"
    ENGINE_REFUSED = "engine_refused", 50, "the second verifier refused what ours took; report both"
    ENGINE_DISAGREES = "engine_disagrees", 51, "two verifiers rate this evidence differently; report both"
    PLATFORM_CONFIGURATION = "platform_configuration", 52, "turn the named platform feature off"
    ZERO_PADDING = "zero_padding", 53, "cut the zero padding behind the quote, or allow it by name"

    # AMD SEV-SNP.
    SNP_POLICY = "snp_policy", 80, "launch with a guest policy that the rules allow"
    SNP_VMPL = "snp_vmpl", 81, "ask for the report at the allowed privilege level"
    SNP_SIGNING_KEY = "snp_signing_key", 82, "use a report signed by the kind of key that it names"
    SNP_TCB_MISMATCH = "snp_tcb_mismatch", 83, "fetch the VCEK for the reported TCB"
    SNP_CHIP_MISMATCH = "snp_chip_mismatch", 84, "fetch the VCEK of this chip"
    SNP_PRODUCT_MISMATCH = "snp_product_mismatch", 85, "use the chain of this CPU generation"
    SNP_TCB_ORDER = "snp_tcb_order", 86, "update firmware; reported is above committed, launch or current TCB"
    SNP_TCB_TOO_LOW = "snp_tcb_too_low", 87, "update SEV firmware and microcode"
    SNP_SIGNATURE_TAIL = "snp_signature_tail", 88, "send the report as the firmware wrote it"
    SNP_HOST_DATA = "snp_host_data", 89, "launch with the expected host data"
    SNP_ID_BLOCK = "snp_id_block", 90, "launch with the expected ID block"
    SNP_VLEK_NOT_ALLOWED = "snp_vlek_not_allowed", 91, "use VCEK evidence, or allow VLEK by name"

    # Arm CCA.
    CCA_PROFILE = "cca_profile", 120, "send the tokens and documents of a known profile, each in its own place"
    CCA_CHALLENGE = "cca_challenge", 121, "ask for the token with all 64 bytes of report data"
    CCA_BINDING = "cca_binding", 122, "collect the token again; its platform does not vouch for the realm's key"
    CCA_KEY_UNKNOWN = "cca_key_unknown", 123, "supply the key of this implementation and instance"
    CCA_DEVELOPMENT_KEY = "cca_development_key", 124, "use a platform with a key of its own; everyone has this one"
    CCA_LIFECYCLE = "cca_lifecycle", 125, "use a platform in its secured lifecycle"
    CCA_IMPLEMENTATION = "cca_implementation", 126, "run on an allowed implementation, or allow this one"
    CCA_REFERENCE_VALUES = "cca_reference_values", 127, "supply the reference values of this platform's firmware"

    # AWS Nitro.
    NITRO_USER_DATA = "nitro_user_data", 180, "put exactly 64 bytes of report data into the document's user data"
    NITRO_PCR = "nitro_pcr", 181, "run with the registers that the rules name, or name these"

    # NVIDIA GPUs and NVSwitch.
    NVIDIA_DEVICE = "nvidia_device", 150, "use the report of a GPU or NVSwitch with its own certificate chain"
    NVIDIA_FWID = "nvidia_fwid", 151, "collect the report again with its own chain; its key is of other firmware"
    NVIDIA_FWID_MISSING = "nvidia_fwid_missing", 152, "use driver 550 or newer, or allow reports without it"
    NVIDIA_MODE = "nvidia_mode", 153, "set the GPU to an allowed mode, or allow this mode by name"
    NVIDIA_RIM_MISSING = "nvidia_rim_missing", 154, "supply the manifests of this driver and this VBIOS"
    NVIDIA_RIM_MALFORMED = "nvidia_rim_malformed", 155, "fetch the manifest from NVIDIA again"
    NVIDIA_RIM_SIGNATURE = "nvidia_rim_signature", 156, "fetch the manifest from NVIDIA again; it is altered or forged"
    NVIDIA_RIM_VERSION = "nvidia_rim_version", 157, "supply the manifests of exactly this driver and this VBIOS"
    NVIDIA_RIM_CONFLICT = "nvidia_rim_conflict", 158, "supply manifests that NVIDIA issued to go together"
    NVIDIA_MEASUREMENT = "nvidia_measurement", 159, "install NVIDIA's own driver and firmware; these are altered"
    NVIDIA_MEASUREMENT_MISSING = (
        "nvidia_measurement_missing",
        160,
        "boot the GPU in confidential mode; it did not measure what the manifest requires",
    )
    NVIDIA_OCSP_MISSING = "nvidia_ocsp_missing", 161, "supply NVIDIA's OCSP answers about these certificates"
    NVIDIA_OCSP_INVALID = "nvidia_ocsp_invalid", 162, "fetch NVIDIA's OCSP answers again"
    NVIDIA_OCSP_UNKNOWN = "nvidia_ocsp_unknown", 163, "use a device that NVIDIA's OCSP responder knows"
    NVIDIA_ON_HOLD = "nvidia_on_hold", 164, "ask NVIDIA why the certificate is on hold, and use another device"
    NVIDIA_GPUS_MISSING = "nvidia_gpus_missing", 166, "send composite evidence with as many GPUs as the policy demands"
    NVIDIA_TOPOLOGY = "nvidia_topology", 165, "send evidence of every switch that the GPUs are connected to"

    # Azure paravisor.
    HCL_MISMATCH = "hcl_mismatch", 200, "send the runtime data that belongs to this report"
    HCL_RUNTIME = "hcl_runtime", 201, "send the paravisor's report as it is; its runtime data names no usable key"
    VTPM_SIGNATURE = "vtpm_signature", 202, "quote with the attestation key that the paravisor's report names"
    VTPM_QUOTE = "vtpm_quote", 203, "send a quote of the vTPM over its SHA-256 registers"
    VTPM_PCRS = "vtpm_pcrs", 204, "boot a guest that the rules name, and send the registers that were quoted"
    VTPM_MISSING = "vtpm_missing", 205, "send the agent's whole evidence, with the vTPM's quote"
    PARAVISOR_NOT_ALLOWED = "paravisor_not_allowed", 206, "run without a paravisor, or allow it and name the guest"

    # Any TEE, continued.
    PLATFORM_DUPLICATE = "platform_duplicate", 210, "count each machine once"
    CLOCK_MISSING = "clock_missing", 211, "give the time of verification with its zone"
    DEVICE_UNBOUND = "device_unbound", 217, "send composite evidence, in which a CPU TEE commits to this device"
    DEVICE_BINDING = "device_binding", 216, "collect the evidence of the devices and the binding quote again, together"
    TEE_UNSUPPORTED = "tee_unsupported", 212, "use a TEE that this version verifies, or a version that verifies it"
    DUPLICATE_KEY = "duplicate_key", 213, "collect the evidence again; a map names one key twice"
    SIGNATURE_ALGORITHM = "signature_algorithm", 214, "sign with the algorithm of the key's own curve"
    KEY_INVALID = "key_invalid", 215, "use the vendor's key; this one is not a point of the curve that it must be on"
