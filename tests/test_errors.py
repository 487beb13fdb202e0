from __future__ import annotations

import pickle

import pytest

from localphi import errors

EXAMPLES = [
    errors.InvalidRequest("'x' must be 1, but is 2.", "x"),
    errors.UnsupportedParameter("tools", "Leave it out."),
    errors.ContextLengthExceeded(3000, 2048),
    errors.ModelNotFound("nope", ("localphi-demo",), "Get it."),
    errors.AdapterNotFound("localphi-demo", "poems", ("other",)),
    errors.AdapterInvalid("no"),
    errors.CannotTrain("no"),
    errors.ModelFolderInvalid("no manifest"),
    errors.ModelDamaged(
        "localphi-demo", "model.onnx", "it is missing", "localphi models repair localphi-demo"
    ),
    errors.PullFailed("no"),
    errors.HubUnreachable("no"),
    errors.HubRefused("no"),
    errors.DownloadDamaged("no"),
    errors.DiskFull("no"),
    errors.PullBusy("no"),
    errors.PullNotFound("phi-2"),
    errors.ToolNotFound("nope", ("files-read_file",)),
    errors.ToolFailed("There is no file of that name."),
    errors.ToolchainMissing("onnx", "quantize"),
    errors.CannotBuild("no"),
    errors.CannotQuantize("no"),
    errors.CannotRewrite("no"),
    errors.ProviderMissing("cuda", ("cpu",), "Install it."),
    errors.CannotConvert("no"),
    errors.BenchFailed("no"),
    errors.EngineBusy(32, 2),
    errors.UpstreamBusy(2, "http://127.0.0.1:8001"),
    errors.UpstreamUnreachable("http://127.0.0.1:8001: Connection refused", 5),
    errors.UpstreamRefused("no"),
    errors.UpstreamLost("no"),
    errors.EngineFailed("broken"),
    errors.WorkerDied("localphi-demo", -9),
    errors.WorkerKeepsDying("localphi-demo", -9, 5),
    errors.ModelTooLarge("localphi-demo", 3 * 10**9, 2 * 10**9),
    errors.MemoryInUse("localphi-demo", 3 * 10**9, ("phi-2", "phi-3"), 5),
    errors.ModelInUse("localphi-demo", 3),
    errors.EngineStopping(),
    errors.RequestAbandoned(),
    errors.StreamNotFound(),
    errors.StreamTrimmed(1, 3),
    errors.KeysUnusable("keys.txt holds no access key."),
    errors.ServerStartFailed("Port 8000 is in use."),
    errors.ContextLengthExceeded(3000, 2048, "prompt"),
    errors.ContextLengthExceeded(3000, 2048, at_least=True),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_the_pipe_between_processes(error: errors.LocalphiError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.message == error.message
    assert vars(copy) == vars(error)


def test_every_error_is_among_the_examples() -> None:
    assert {type(error) for error in EXAMPLES} == _descendants(errors.LocalphiError)


def _descendants(kind: type[Exception]) -> set[type[Exception]]:
    found: set[type[Exception]] = set()
    for child in kind.__subclasses__():
        found |= {child, *_descendants(child)}
    return found


def test_a_long_prompt_is_told_with_both_numbers() -> None:
    message = errors.ContextLengthExceeded(3000, 2048).message
    assert "3000" in message
    assert "2048" in message


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one() -> None:
    message = errors.ModelNotFound("phi3-mini-4k", ("localphi-demo", "phi-3-mini-4k")).message
    assert "Did you mean phi-3-mini-4k?" in message
    assert "Did you mean" not in errors.ModelNotFound("nope", ("localphi-demo",)).message
