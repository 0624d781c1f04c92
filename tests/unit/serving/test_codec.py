"""Messages with arrays, against the codecs of the real clients."""

from __future__ import annotations

import io

import numpy as np
import pytest
from openpi_client import msgpack_numpy
from PIL import Image
from vla_eval.protocol.messages import Message, MessageType, pack_message, unpack_message

from rlinf.serving.codec import BadMessage, pack_openpi, pack_vla_eval, unpack

PICTURE = np.random.default_rng(0).integers(0, 256, (32, 24, 3), np.uint8)


@pytest.mark.parametrize("dtype", ["u1", "<i8", "<f4", "<f8", "?"])
def test_arrays_go_both_ways_in_openpis_form(dtype: str):
    given = {"a": np.arange(6).reshape(2, 3).astype(dtype), "n": np.float32(0.5), "t": "text"}
    read = unpack(msgpack_numpy.Packer().pack(given))
    np.testing.assert_array_equal(read["a"], given["a"])
    assert (read["a"].dtype, read["n"], read["t"]) == (given["a"].dtype, 0.5, "text")
    again = msgpack_numpy.unpackb(pack_openpi({"a": given["a"]}))
    np.testing.assert_array_equal(again["a"], given["a"])


def test_pictures_come_as_png_from_vla_eval_and_arrays_go_back():
    sent = Message(MessageType.OBSERVATION, {"images": {"agentview": PICTURE}}, 3)
    read = unpack(pack_message(sent))
    np.testing.assert_array_equal(read["payload"]["images"]["agentview"], PICTURE)
    reply = {"type": "action", "payload": {"actions": np.ones(7)}, "seq": 3, "timestamp": 0.0}
    back = unpack_message(pack_vla_eval(reply))
    np.testing.assert_array_equal(back.payload["actions"], np.ones(7))


def test_a_picture_of_another_size_than_it_says_is_refused_before_it_is_decompressed():
    frame = pack_message(Message(MessageType.OBSERVATION, {"image": PICTURE}))
    with pytest.raises(BadMessage, match="is 32 x 24"):
        unpack(frame.replace(bytes([147, 32, 24, 3]), bytes([147, 32, 25, 3])))


def test_pictures_that_are_small_only_when_compressed_do_not_fill_the_memory():
    file = io.BytesIO()
    Image.new("RGB", (2048, 2048)).save(file, "PNG")
    picture = {"__image__": True, "shape": [2048, 2048, 3], "data": file.getvalue()}
    with pytest.raises(BadMessage, match="pixels in all"):
        unpack(pack_vla_eval({str(number): picture for number in range(5)}))


@pytest.mark.parametrize("dtype", ["O", "V8", "c8", "M8[s]", "S4", "U4", "f4,f4", "(2,)f4", 3])
def test_what_is_no_number_has_no_dtype(dtype: object):
    array = {b"__ndarray__": True, b"data": b"", b"dtype": dtype, b"shape": [0]}
    with pytest.raises(BadMessage, match="dtype"):
        unpack(pack_openpi({"a": array}))
