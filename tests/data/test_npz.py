"""Archives from strangers: nothing is unpickled, and nothing is read that was not checked."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy

from irlbench.data.npz import NpzFile, numbered
from irlbench.errors import DataError


def _header(shape, descr="<f8", fortran=False) -> bytes:
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, {"descr": descr, "fortran_order": fortran, "shape": shape})
    return stream.getvalue()


def _archive(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _refused(path, message, field="a", **options):
    with pytest.raises(DataError, match=message) as caught, NpzFile(path, **options) as archive:
        archive.read(field)
    assert path.name in str(caught.value)
    assert str(path.parent) not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(6, dtype=">i4"),
        np.array([True, False]),
        np.array(3.5),
        np.zeros((0, 4)),
    ],
    ids=["float32", "Fortran", "big-endian", "bool", "scalar", "empty"],
)
def test_reads_what_numpy_writes(tmp_path, save, array):
    save(tmp_path / "x.npz", a=array, b=np.zeros(1))
    with NpzFile(tmp_path / "x.npz") as archive:
        assert sorted(archive.fields) == ["a", "b"]
        read = archive.read("a")
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


@pytest.mark.parametrize("name", ["x.pkl", "x.npz"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_is_refused_whatever_it_is_called(tmp_path, name, protocol):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(_Bomb(), protocol=protocol))
    _refused(path, "is a pickle")


def test_an_old_pickle_is_refused_by_its_extension(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(_Bomb(), protocol=0))
    _refused(path, r"ends in '\.pkl'.*numpy\.savez")


def test_an_array_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([_Bomb()], dtype=object), allow_pickle=True)
    error = _refused(tmp_path / "x.npz", "holds Python objects")
    assert error.field == "a"


def test_a_pickle_inside_the_archive_is_refused(tmp_path):
    path = _archive(tmp_path / "x.npz", {"a.npy": pickle.dumps(_Bomb())})
    assert _refused(path, "is a pickle").field == "a"


@pytest.mark.parametrize("dtype", ["U5", "S5", "c16", "M8[s]", [("x", "f4")]])
def test_other_types_are_refused(tmp_path, dtype):
    np.savez(tmp_path / "x.npz", a=np.zeros(2, dtype=dtype))
    _refused(tmp_path / "x.npz", "numbers or booleans are needed")


def _peak(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2**40,), "claims 8192 GiB.*may have 2 GiB"),
        ((2**62, 2**62), "claims .*may have 2 GiB"),
        ((2**28 + 1,), "claims 2 GiB.*may have 2 GiB"),
        ((2**24,), r"claims 128 MiB \(float64, shape \(16777216,\)\), but holds 80 bytes"),
        ((9,), r"claims 72 bytes \(float64, shape \(9,\)\), but holds 80 bytes"),
    ],
)
def test_a_header_that_claims_what_is_not_there_is_refused_before_reading(tmp_path, shape, message):
    path = _archive(tmp_path / "x.npz", {"a.npy": _header(shape) + bytes(80)})
    assert _peak(lambda: _refused(path, message)) < 2**20


def test_a_negative_shape_is_refused(tmp_path):
    path = _archive(tmp_path / "x.npz", {"a.npy": _header((-1, -8)) + bytes(64)})
    _refused(path, r"claims the shape \(-1, -8\)")


def test_a_huge_header_is_refused(tmp_path):
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"1," * 10**6 + b")}"
    magic = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text))
    path = _archive(tmp_path / "x.npz", {"a.npy": magic + text})
    _refused(path, "holds no NumPy array")


def test_a_decompression_bomb_is_refused_before_it_expands(tmp_path):
    size = 32 * 2**20
    path = _archive(tmp_path / "x.npz", {"a.npy": _header((size // 8,)) + bytes(size)})
    assert path.stat().st_size < 2**16
    assert _peak(lambda: _refused(path, "decompression bomb")) < 2**20


def test_the_cap_is_over_all_fields(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(100), b=np.zeros(100))
    with NpzFile(tmp_path / "x.npz", max_bytes=1000) as archive:
        archive.read("a")
        with pytest.raises(DataError, match=r"field 'b': claims 800 bytes.*may have 1000 bytes"):
            archive.read("b")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_archive_is_refused(tmp_path, kept):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.random.default_rng(0).normal(size=1000))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    _refused(path, "truncated")


def test_a_member_whose_bytes_changed_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.random.default_rng(0).normal(size=1000))
    content = bytearray(path.read_bytes())
    content[4000] ^= 0xFF
    path.write_bytes(bytes(content))
    assert _refused(path, "damaged").field == "a"


def test_an_encrypted_member_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros(3))
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))
    assert _refused(path, "is encrypted").field == "a"


def test_a_field_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", _header((1,)) + struct.pack("<d", 1))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", _header((1,)) + struct.pack("<d", 2))
    _refused(path, "is there twice")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npz", b"", "is empty"),
        ("x.npz", b"observations,actions\n", "is no .npz archive"),
        ("x.csv", b"observations,actions\n", r"ends in '\.csv'"),
        ("x", b"something", "ends in 'nothing'"),
        ("x.npz", _header((1,)) + bytes(8), "is a single array"),
        ("x.zip", b"PK\x03\x04", r"ends in '\.zip'"),
        ("x.npz", b"PK\x03\x04" + bytes(50), "truncated or no archive"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    _refused(tmp_path / name, message)


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "..\\a", ".."])
def test_a_name_that_leads_out_of_a_folder_is_refused(tmp_path, name):
    path = _archive(tmp_path / "x.npz", {f"{name}.npy": _header((1,)) + bytes(8)})
    _refused(path, "has a name that leads out of a folder")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, method):
    # Their decoders take memory as the archive asks.
    path = _archive(tmp_path / "x.npz", {"a.npy": _header((1,)) + bytes(8)}, method)
    _refused(path, f"is compressed by method {method}; numpy stores or deflates")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.npz")
    _refused(tmp_path / "x.npz", "is no plain file")
    (tmp_path / "y.npz").mkdir()
    _refused(tmp_path / "y.npz", "is no plain file")


def _raw(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"1," * 65 + b")}", "claims the"),
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"9" * 5000 + b",)}", "claims"),
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (0, " + b"9" * 29 + b")}", "claims"),
        (b"{'descr': '<f3', 'fortran_order': False, 'shape': (1,)}", "numbers or booleans"),
        (b"{'descr': ('<f8', (99,)), 'fortran_order': False, 'shape': ()}", "numbers or booleans"),
        (b"{" * 3000, "holds no NumPy array"),
        (b"-" * 9000 + b"1", "holds no NumPy array"),
        (b"{'descr': '<f8', 'fortran_order': __import__('os'), 'shape': ()}", "holds no NumPy"),
    ],
)
def test_headers_that_would_break_a_parser(tmp_path, text, message):
    path = _archive(tmp_path / "x.npz", {"a.npy": _raw(text) + bytes(8)})
    assert _refused(path, message).field == "a"


@pytest.mark.parametrize(
    "text",
    [
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, ), }",  # as written in C++
        b"{'descr':'<f8','fortran_order':True,'shape':(2L,)}\n",  # by Python 2
        b"{ 'descr' : '<f8' , 'fortran_order' : False , 'shape' : ( 2 , ) } \n",
    ],
)
def test_headers_of_other_writers_are_read(tmp_path, text):
    path = _archive(tmp_path / "x.npz", {"a.npy": _raw(text) + struct.pack("<dd", 1, 2)})
    with NpzFile(path) as archive:
        np.testing.assert_array_equal(archive.read("a"), [1.0, 2.0])


def test_small_numbers_count_as_what_they_are_cast_to(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(200, dtype=np.int8))
    with NpzFile(tmp_path / "x.npz", max_bytes=1600) as archive:
        assert len(archive.read("a")) == 200
    with (
        NpzFile(tmp_path / "x.npz", max_bytes=1599) as archive,
        pytest.raises(DataError, match=r"claims 200 bytes .* a number counted as 8 bytes"),
    ):
        archive.read("a")


def test_a_missing_file_and_a_missing_field_are_named(tmp_path):
    _refused(tmp_path / "x.npz", "cannot be read: No such file")
    np.savez(tmp_path / "x.npz", b=np.zeros(1))
    assert _refused(tmp_path / "x.npz", "field 'a': is missing").field == "a"


def test_numbered_takes_plain_numbers_only():
    fields = [
        "obs_0",
        "obs_1",
        "obs_01",
        "obs_" + "9" * 5000,
        "obs_x",
        "obs_-1",
        "act_2",
        "obs_²",
        "obs",
    ]
    assert numbered(fields, "obs") == {0, 1}
