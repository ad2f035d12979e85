"""The types of files that people keep among photos, by name and by first bytes.

Decides which files are photos, and gives the reason and the remedy for pictures that no decoder
here reads. Decodes nothing.
"""

import os
import re
from typing import Literal, NamedTuple

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif", ".hif"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
)
"""Endings of pictures; heic so that such a photo is reported as unreadable, not ignored."""
HEAD_BYTES = 1024
"""The bytes that are read of a file whose name does not decide."""
_JPEG2000 = rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"
_PHOTO = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|BM....\0\0\0\0"
    rb"|P[1-6]\s+(#[^\n]*\s+)*\d+\s+\d+\s|II[*+]\0|MM\0[*+]|....ftyp(m[is]f1.{4,40})?avi[fs]|"
    + _JPEG2000,
    re.DOTALL,
)
"""The first bytes of the formats that are decoded."""


class Unreadable(NamedTuple):
    """A picture that cannot be read."""

    type_name: str
    remedy: str

    @property
    def is_video(self) -> bool:
        """True for a video, which phones keep beside a photo."""
        return self.type_name == _VIDEO

    @property
    def reason(self) -> str:
        """The reason with its remedy, for the user."""
        return f"{self.type_name}: {self.remedy}"


class _Type(NamedTuple):
    """A type of pictures that cannot be read: endings of names, and a pattern of first bytes."""

    unreadable: Unreadable
    endings: str
    magic: bytes


_AS_JPEG, _AS_PNG = "export it as JPEG", "export it as PNG"
_VIDEO = "a video"
_STILLS = "extract still pictures, or remove it"
_HEIC = Unreadable("a HEIC photo", "export it as JPEG (docs/data.md has a command)")
_LINK = Unreadable("a link to a photo", "copy the photo itself")
_RAWS = {
    "CR2": rb"II\*\0.{4}CR",
    "CR3": rb"....ftypcrx ",
    "CRW": rb"II.{4}HEAPCCDR",
    "ORF": rb"(IIR[OS]|MMOR)",
    "RW2": rb"IIU\0",
    "RAF": rb"FUJIFILMCCD-RAW",
    "X3F": rb"FOVb",
    # TIFF files that begin with a preview: by their names only; see photo.check_tiff.
    **dict.fromkeys(("NEF", "NRW", "ARW", "SR2", "SRF", "DNG", "PEF", "SRW", "ERF", "KDC"), b""),
    **dict.fromkeys(("DCR", "3FR", "FFF", "IIQ", "MEF", "MOS", "MRW", "RWL", "GPR", "RAW"), b""),
}
_TYPES = (
    *(
        _Type(Unreadable(f"a camera raw file ({name})", _AS_JPEG), name.lower(), magic)
        for name, magic in _RAWS.items()
    ),
    _Type(_HEIC, "", rb"....ftyp(hei[cxms]|hev[cxms]|m[is]f1)"),
    _Type(Unreadable(_VIDEO, _STILLS), "mp4 m4v mov qt 3gp", rb"\0...(ftyp|moov|mdat|wide)"),
    _Type(Unreadable(_VIDEO, _STILLS), "avi", rb"RIFF....AVI "),
    _Type(Unreadable(_VIDEO, _STILLS), "mkv webm", rb"\x1a\x45\xdf\xa3"),
    _Type(Unreadable(_VIDEO, _STILLS), "mpg mpeg mts m2ts wmv flv", rb"\0\0\x01[\xba\xb3]"),
    _Type(
        Unreadable("a drawing (SVG)", _AS_PNG),
        "svg svgz",
        rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?((<!--.*?-->|<!DOCTYPE svg[^>]*>)\s*)*<svg\b",
    ),
    _Type(Unreadable("a Photoshop file (PSD)", _AS_JPEG), "psd psb", rb"8BPS"),
    _Type(Unreadable("a GIMP file (XCF)", _AS_PNG), "xcf", rb"gimp xcf"),
    _Type(Unreadable("a PDF document", "export its pictures as JPEG"), "pdf ai", rb"%PDF-"),
    _Type(Unreadable("a PostScript file (EPS)", _AS_PNG), "eps ps", rb"%!PS|\xc5\xd0\xd3\xc6"),
    _Type(Unreadable("a JPEG XL photo", _AS_JPEG), "jxl", rb"\xff\x0a|\0\0\0\x0cJXL "),
    _Type(Unreadable("a JPEG XR photo", _AS_JPEG), "jxr wdp hdp", rb"II\xbc"),
    _Type(Unreadable("a picture in floating point (EXR)", _AS_PNG), "exr", rb"\x76\x2f\x31\x01"),
    _Type(Unreadable("a picture in floating point (HDR)", _AS_PNG), "hdr", rb"#\?R(ADIANC|GB)E"),
    _Type(Unreadable("a DICOM file", _AS_PNG), "dcm dicom", rb".{128}DICM"),
    _Type(Unreadable("a FITS file", _AS_PNG), "fits fit fts", rb"SIMPLE  ="),
    _Type(Unreadable("an icon file (ICO)", _AS_PNG), "ico cur", rb"\0\0[\x01\x02]\0[^\0]\0"),
    _Type(Unreadable("a Targa picture (TGA)", _AS_PNG), "tga", b""),
    _Type(Unreadable("a texture (DDS)", _AS_PNG), "dds", rb"DDS \x7c"),
    _Type(Unreadable("a QOI picture", _AS_PNG), "qoi", rb"qoif"),
    _Type(Unreadable("a PCX picture", _AS_PNG), "pcx", b""),
    _Type(Unreadable("a PICT picture", _AS_PNG), "pct pict", b""),
    _Type(Unreadable("an SGI picture", _AS_PNG), "sgi", rb"\x01\xda[\0\1][\1\2]"),
    _Type(Unreadable("a PAM picture", _AS_PNG), "pam", rb"P7\n"),
    _Type(Unreadable("a picture in floating point (PFM)", _AS_PNG), "pfm", rb"P[Ff]\n"),
    _Type(Unreadable("an XPM picture", _AS_PNG), "xpm", rb"/\* XPM \*/"),
    _Type(Unreadable("a BPG picture", _AS_PNG), "bpg", rb"BPG\xfb"),
    _Type(Unreadable("a drawing (WMF)", _AS_PNG), "wmf emf", rb"\xd7\xcd\xc6\x9a"),
    _Type(Unreadable("a DjVu document", _AS_JPEG), "djvu djv", rb"AT&TFORM"),
    _Type(Unreadable("a NIfTI volume", _AS_PNG), "nii", rb".{344}(n\+1|ni1)\0"),
    _Type(Unreadable("a MetaImage volume", _AS_PNG), "mha", rb"(ObjectType|NDims) = "),
    _Type(Unreadable("an NRRD volume", _AS_PNG), "nrrd", rb"NRRD000"),
    _Type(_LINK, "", rb"book\0\0\0\0mark"),  # an alias of macOS
    # A shortcut of Windows to a picture, whose name need not have the picture's ending.
    _Type(_LINK, "", rb"L\0\0\0\x01\x14\x02\0.*\.\0?(?i:j\0?p\0?e?\0?g|p\0?n\0?g|w\0?e\0?b\0?p)"),
)
_BY_ENDING = {f".{ending}": kind.unreadable for kind in _TYPES for ending in kind.endings.split()}
_BY_MAGIC = [(re.compile(kind.magic, re.DOTALL), kind.unreadable) for kind in _TYPES if kind.magic]
_STAND_INS = {
    "icloud": Unreadable("a photo that is only in iCloud", "download it, and copy it again"),
    "nextcloud owncloud cloud": Unreadable(
        "a photo that is only in the cloud", "make it available offline, and copy it again"
    ),
    "lnk url webloc": _LINK,
    "dvc": Unreadable("a photo that DVC keeps", "run `dvc pull` where you copied it from"),
    "gz bz2 xz zst": Unreadable("a compressed photo", "unpack it"),
    "gpg pgp aes enc": Unreadable("an encrypted photo", "decrypt it"),
}
_BY_LAST = {f".{last}": kind for lasts, kind in _STAND_INS.items() for last in lasts.split()}
"""Files that stand for the photo that they are named after, such as cat.jpg.lnk."""
_STAND_IN = re.compile(r"(?P<photo>.+(?P<ending>\.\w+))( [^/.]*)?(?P<last>\.\w+)", re.DOTALL)


def kind_of(path: str, name: str) -> Literal["photo"] | Unreadable | None:
    """Return "photo", or why a picture cannot be read, or None if the file is no picture.

    The name decides if it is that of a picture, else the first bytes of the file at `path`. A file
    that cannot be opened is no picture.
    """
    if is_picture(name):
        return "photo"
    if unreadable := unreadable_name(name):
        return None if _is_beside_its_photo(path) else unreadable
    head = _head(path)
    is_photo = is_photo_content(head) or name.startswith(".")  # of those, only copies are left
    return unreadable_content(head) or ("photo" if is_photo else None)


def is_picture(name: str) -> bool:
    """Return True if the name is that of a picture."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def is_photo_content(head: bytes) -> bool:
    """Return True if a file that begins with `head` has a format that is decoded."""
    return bool(_PHOTO.match(head))


def unreadable_name(name: str) -> Unreadable | None:
    """Return the type that the name's ending stands for, if no decoder here reads it."""
    last = os.path.splitext(name)[1].lower()
    if last in _BY_LAST and (named := _STAND_IN.fullmatch(name)):
        ending = named["ending"].lower()
        return _BY_LAST[last] if ending in SUFFIXES or ending in _BY_ENDING else None
    return _BY_ENDING.get(last)


def _is_beside_its_photo(path: str) -> bool:
    """Return True for a file such as cat.jpg.gz beside cat.jpg: the photo is there."""
    named = _STAND_IN.fullmatch(path)
    return (
        named is not None and named["last"].lower() in _BY_LAST and os.path.exists(named["photo"])
    )


def unreadable_content(head: bytes) -> Unreadable | None:
    """Return the type of a file that begins with `head`, if no decoder here reads it."""
    if is_photo_content(head) and not head.startswith(b"II*\0"):  # CR2 is a TIFF by its first bytes
        return None
    return next((unreadable for magic, unreadable in _BY_MAGIC if magic.match(head)), None)


def _head(path: str) -> bytes:
    try:
        # Not open(): without O_NONBLOCK it would wait for a writer of a named pipe.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, HEAD_BYTES)
    except OSError:
        return b""
    finally:
        os.close(file)
