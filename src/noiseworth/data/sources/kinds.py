"""What kind of thing a file is: by its first bytes where these tell, else by its name, in capitals or not."""

from pathlib import PurePosixPath

HEAD = 1024  # bytes that `kind_of` looks at

# kind -> beginnings of such a file
_MAGIC: dict[str, tuple[bytes, ...]] = {
    "picture": (
        b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51",
    ),
    "tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "npy": (b"\x93NUMPY",),
    "hdf5": (b"\x89HDF\r\n\x1a\n",),
    "fits": (b"SIMPLE  =",),
    "parquet": (b"PAR1",),
}  # fmt: skip
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "picture": (
        ".png", ".apng", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga",
        ".jp2", ".j2k", ".jpx", ".avif", ".mpo",
    ),
    "tiff": (".tif", ".tiff", ".lsm", ".btf", ".tf2", ".tf8", ".stk"),
    "npy": (".npy",),
    "npz": (".npz",),
    "hdf5": (".h5", ".hdf5", ".hdf", ".he5"),
    "fits": (".fits", ".fit", ".fts", ".fits.fz"),
    "mrc": (".mrc", ".mrcs", ".rec", ".st", ".map", ".mrc.gz", ".mrc.bz2", ".map.gz"),
    "nifti": (".nii", ".nii.gz", ".mgh", ".mgz", ".mgh.gz"),
    "dicom": (".dcm", ".dicom", ".ima"),
    "parquet": (".parquet",),
    "idx": ("-ubyte", ".idx"),
    "zip": (".zip",),
    "tar": (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2"),
}  # fmt: skip
_PICTURES = {suffix: kind for kind in ("picture", "tiff") for suffix in _SUFFIXES[kind]}
ARCHIVES = ("zip", "tar")
# Pictures that nothing here reads, so that they are left out by name, and not as "other files".
UNREAD = {
    ".heic": "HEIC photos", ".heif": "HEIC photos", ".svg": "SVG drawings", ".pdf": "PDF documents", ".mp4": "videos",
    ".avi": "videos", ".mov": "videos", ".dng": "raw photos", ".cr2": "raw photos", ".cr3": "raw photos", ".nef": "raw photos",
    ".arw": "raw photos", ".czi": "CZI files", ".nd2": "ND2 files", ".lif": "LIF files", ".exr": "EXR files", ".mat": "MATLAB files",
    ".pkl": "pickles", ".pt": "pickles", ".npy.pkl": "pickles",
}  # fmt: skip


def kind_of(name: str, head: bytes) -> str | None:
    """The kind of a file, or None if nothing here reads it.

    Args:
        name: of the file.
        head: its first `HEAD` bytes.
    """
    lower = name.lower()
    suffix = PurePosixPath(lower).suffix
    if suffix in UNREAD and not lower.endswith(".npy.pkl"):
        return "hdf5" if suffix == ".mat" and _is_hdf5(head) else None
    if is_cifar(lower):
        return "cifar"
    if head[128:132] == b"DICM":  # first: its preamble may be that of a TIFF
        return "dicom"
    for kind, beginnings in _MAGIC.items():
        if kind != "picture" and head.startswith(beginnings):
            return kind
    if _is_hdf5(head):
        return "hdf5"
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] == b"n+2\0":
        return "nifti"
    if _is_picture(head):
        return "picture"
    packed = lower.removesuffix(".gz")
    for kind in (lower, packed) if packed != lower else (lower,):
        by_name = _by_suffix(kind)
        if by_name is not None:
            return by_name
    if head.startswith(b"PK\x03\x04"):
        return None  # office documents and programs are zip files, too
    return None


def picture_kind(name: str) -> str | None:
    """ "picture" or "tiff" for names that say so, whose content `decode` looks at anyway; None for others."""
    return _PICTURES.get(name[name.rfind(".") :].lower())


def _by_suffix(name: str) -> str | None:
    endings = [
        (len(ending), kind)
        for kind, all_of in _SUFFIXES.items()
        for ending in all_of
        if name.endswith(ending)
    ]
    return max(endings)[1] if endings else None


def _is_picture(head: bytes) -> bool:
    if head.startswith(_MAGIC["picture"]) and (head[:2] != b"BM" or head[6:10] == b"\0\0\0\0"):
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return True
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return True
    return head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b"\n", b" ", b"\r", b"\t")


def _is_hdf5(head: bytes) -> bool:
    return any(
        head[at : at + 8] == _MAGIC["hdf5"][0] for at in (0, 512)
    )  # a block of the user's may come first


def is_archive_name(name: str) -> bool:
    """Whether a name is that of a zip or tar archive."""
    return _by_suffix(name.lower()) in ARCHIVES


def is_cifar(name: str) -> bool:
    """Whether this is a file of CIFAR-10's binary version, by its name."""
    base = name.rsplit("/", 1)[-1].lower()
    return base.endswith(".bin") and (base.startswith("data_batch") or base == "test_batch.bin")


def describe(name: str) -> str:
    """What a file that was not read is called in a count: `.txt files`, `HEIC photos`."""
    suffix = PurePosixPath(name.lower()).suffix
    return UNREAD.get(suffix, f"{suffix} files" if suffix else "files without a suffix")
