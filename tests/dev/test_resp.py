"""Frames are found in whatever pieces they arrive."""

from hypothesis import given
from hypothesis import strategies as st

from dev.resp import Framer

WHOLE = [
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":1\r\n",
    b"$-1\r\n",
    b"$0\r\n\r\n",
    b"$4\r\n\r\n*1\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n*1\r\n$-1\r\n",
    b"%1\r\n+key\r\n~2\r\n#t\r\n_\r\n",
]


@given(frames=st.lists(st.sampled_from(WHOLE)), size=st.integers(1, 20))
def test_frames_are_cut_at_their_borders_however_they_arrive(frames: list[bytes], size: int) -> None:
    stream = b"".join(frames)
    framer = Framer()

    found = [frame for at in range(0, len(stream), size) for frame in framer.feed(stream[at : at + size])]

    assert [frame.data for frame in found] == frames


def test_a_frame_gives_the_bulk_strings_in_it() -> None:
    (frame,) = Framer().feed(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n")

    assert frame.strings == [b"SET", b"a", b""]
