"""Writes the event file that a test of contextlm-train compares its own bytes with, by TensorBoard's own writer.

    pip install tensorboard==2.21.0
    python3 tools/write_tensorboard_fixture.py crates/contextlm-train/tests/fixtures/events.out.tfevents.tensorboard

With --check DIR it reads event files with TensorBoard's own reader instead and prints their scalars.
"""

import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


def write(path):
    largest = 3.4028234663852886e38
    value = lambda tag, number: Summary.Value(tag=tag, simple_value=number)
    events = [
        Event(wall_time=1_700_000_000.25, file_version="brain.Event:2"),
        Event(wall_time=1_700_000_001.5, step=1, summary=Summary(value=[value("loss/train", 5.5), value("lr", 6e-4)])),
        Event(wall_time=1_700_000_002.5, step=300, summary=Summary(value=[value("loss/valid", largest)])),
        Event(wall_time=1_700_000_003.5, step=5_000_000_000, session_log=SessionLog(status=SessionLog.START)),
    ]
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())


def check(directory):
    accumulator = EventAccumulator(directory)
    accumulator.Reload()
    for tag in accumulator.Tags()["scalars"]:
        print(tag, [(event.step, event.value) for event in accumulator.Scalars(tag)])


if __name__ == "__main__":
    check(sys.argv[2]) if sys.argv[1] == "--check" else write(sys.argv[1])
