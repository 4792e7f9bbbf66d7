"""The SPKI hashes of NVIDIA's roots: one for devices, one for the signers of reference manifests."""

DEVICE_ROOT_SPKI = bytes.fromhex("a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4")
RIM_ROOT_SPKI = bytes.fromhex("dec1dc316477aa851eebdf51327ae9f864bc8d89254657ed1e7eb9168af1e1a3")
