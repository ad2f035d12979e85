import tempfile
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.dataset.recordio import (
    MAGIC,
    RecordError,
    framed,
    open_records,
    read_headers,
    read_image,
)
from hypothesis import given
from hypothesis import strategies as st

payloads = st.lists(st.one_of(st.just(MAGIC), st.binary(max_size=9)), max_size=8).map(b"".join)


@given(payloads)
def test_a_record_is_framed_as_dmlc_frames_it(payload: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        writer = mx.recordio.MXRecordIO(file.name, "w")
        writer.write(payload)
        writer.close()
        assert framed(payload) == Path(file.name).read_bytes()


def test_files_are_those_of_mxnets_own_writer_byte_for_byte(tmp_path: Path) -> None:
    images = [b"one", b"second image", b"x" + MAGIC + b"yz", bytes(8) + MAGIC]
    theirs = mx.recordio.MXIndexedRecordIO(
        str(tmp_path / "theirs.idx"), str(tmp_path / "theirs.rec"), "w"
    )
    with open_records(tmp_path / "ours") as ours:
        for number, image in enumerate(images):
            header = mx.recordio.IRHeader(0, number % 3, number, 0)
            theirs.write_idx(number, mx.recordio.pack(header, image))
            ours.write(label=number % 3, image=image)
    theirs.close()
    for suffix in (".rec", ".idx"):
        ours_bytes = (tmp_path / f"ours{suffix}").read_bytes()
        assert ours_bytes == (tmp_path / f"theirs{suffix}").read_bytes()


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=3), payloads)
def test_a_record_is_read_as_mxnets_own_reader_reads_it(labels: list[float], image: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "data.rec")
        record = mx.recordio.pack(mx.recordio.IRHeader(0, 2.0, 7, 0), image)
        if labels:
            header = mx.recordio.IRHeader(0, np.array(labels, np.float32), 7, 0)
            record = mx.recordio.pack(header, image)
        path.write_bytes(framed(record))
        (found,) = read_headers(path)
        theirs, picture = mx.recordio.unpack(record)
        assert (found.labels, found.size) == (max(1, len(labels)), len(image))
        assert found.label == np.atleast_1d(theirs.label)[0]
        assert read_image(path, 0) == picture == image


def test_a_label_that_looks_like_the_start_of_a_record_is_read(tmp_path: Path) -> None:
    (label,) = np.frombuffer(MAGIC, np.float32)
    header = mx.recordio.IRHeader(0, np.array([label]), 0, 0)
    (tmp_path / "data.rec").write_bytes(framed(mx.recordio.pack(header, b"image")))
    (found,) = read_headers(tmp_path / "data.rec")
    assert (found.label, found.size) == (label, 5)


@pytest.mark.parametrize("flag", [1, 0xFFFFFFFF])
def test_labels_that_are_longer_than_their_record_are_named(tmp_path: Path, flag: int) -> None:
    record = mx.recordio.pack(mx.recordio.IRHeader(0, 1.0, 0, 0), b"img")
    (tmp_path / "data.rec").write_bytes(framed(flag.to_bytes(4, "little") + record[4:]))
    with pytest.raises(RecordError, match=f"byte 0: {flag} labels are longer than the record"):
        list(read_headers(tmp_path / "data.rec"))
