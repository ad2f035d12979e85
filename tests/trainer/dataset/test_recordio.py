import tempfile
from pathlib import Path

import mxnet as mx
from finetune_trainer.dataset.recordio import MAGIC, framed, open_records
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
