"""What a policy is told of the first bytes that workers send."""

from __future__ import annotations

from sglrouter.policy.simple import LeastLoad

EVENT = b"data: {}\n\n"
STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVENT), EVENT)
)
PROMPT = {"model": "tiny", "prompt": "x" * 4000}


class Told(LeastLoad):
    """Keeps what it is told."""

    def __init__(self):
        self.first_bytes = []

    def first_byte(self, slot, new, cached, ahead, seconds):
        self.first_bytes.append((slot, new, cached, ahead, seconds))


async def stream(request, writer):
    writer.write(STREAM)


def told(lab, handler, backlog=0):
    """What the policy hears of one request of 1,000 tokens that was answered by `handler`."""
    policy = Told()

    async def scenario():
        async with lab.world(lab.FakeWorker(handler)) as world:
            world.router.policies["chat"] = policy
            (worker,) = world.router.workers.workers.values()
            worker.backlog = backlog
            before = world.router.clock()
            answer = await world.ask(lab.post(PROMPT))
            assert answer.complete
            assert worker.backlog == backlog
            return worker.slot, world.router.clock() - before

    return lab.run(scenario()), policy.first_bytes


def test_a_stream_tells_what_it_had_to_compute_and_how_long_that_took(lab):
    (slot, whole), first_bytes = told(lab, stream, backlog=70)
    ((told_slot, new, cached, ahead, seconds),) = first_bytes
    assert (told_slot, new, cached, ahead) == (slot, 1000, 0, 70)
    assert 0 < seconds <= whole


def test_a_plain_answer_tells_nothing_since_it_was_generated_whole_before(lab):
    assert told(lab, lab.plain())[1] == []


def test_a_refusal_tells_nothing(lab):
    refusal = STREAM.replace(b"200 OK", b"400 Bad Request")

    async def refuse(request, writer):
        writer.write(refusal)

    assert told(lab, refuse)[1] == []
