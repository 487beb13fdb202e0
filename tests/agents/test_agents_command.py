"""`localphi agent`, against a server that calls what a test tells it to."""

from __future__ import annotations

import asyncio
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from localphi.cli import main
from localphi_agents.mcp import McpTools, ToolFailed, ToolServerError
from serving import ROOT, LiveServer

from .scripted_server import (
    STREAM_HEAD,
    Connection,
    Dialogue,
    Script,
    ScriptedServer,
    answer,
    calling,
    chunk,
    free_port,
    refusal,
)

Serve = Callable[[Script], ScriptedServer]

# A server's process does not get our environment, so that a checkout's PYTHONPATH is not known there.
PATHS = [str(ROOT / "webapp"), str(ROOT / "agents")]
# A shell that runs the tests in its background lets them ignore SIGINT, and a child would inherit that.
AGENT = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    f"sys.path[:0] = {PATHS}; from localphi.cli import main; sys.argv.insert(1, 'agent'); main()"
)
TOOL_SERVER = shlex.join([sys.executable, str(Path(__file__).parent / "mcp_tool_server.py")])


def run(*arguments: str, text: str | None = None) -> Result:
    result = CliRunner().invoke(main, ["agent", *arguments], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_help_tells_the_plugins() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "time|math|units|files:FOLDER" in result.output


def test_a_question_is_answered_with_every_call_in_a_line(scripted: Serve) -> None:
    dialogue = Dialogue(calling(("math-calculate", {"expression": "6*7"})), answer("It is", " 42."))
    result = run("--url", scripted(dialogue).url, "what", "is", "6*7?")
    assert result.exit_code == 0
    assert result.stdout == "It is 42.\n"
    assert result.stderr == '→ math-calculate({"expression": "6*7"})\n← math-calculate: 42\n'
    body = dialogue.bodies[0]
    assert body["messages"] == [{"role": "user", "content": "what is 6*7?"}]
    plugins = {tool["function"]["name"].split("-")[0] for tool in body["tools"]}
    assert plugins == {"time", "math", "units"}


def test_plugins_instructions_and_settings_are_passed_on(scripted: Serve, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    dialogue = Dialogue(calling(("files-read_file", {"path": "a.txt"})), answer("ok"))
    options = f"--plugin files:{tmp_path} --plugin time --plugin time --temperature 0 --max-tokens 50"
    url = scripted(dialogue).url
    result = run("--url", url, *options.split(), "--instructions", "Be brief.", "read a.txt")
    assert "← files-read_file: hello" in result.stderr
    body = dialogue.bodies[0]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["temperature"], body["max_tokens"]) == (0, 50)
    assert {tool["function"]["name"].split("-")[0] for tool in body["tools"]} == {"files", "time"}


def test_a_conversation_remembers_starts_over_and_leaves(scripted: Serve) -> None:
    dialogue = Dialogue(answer("One."), answer("Two."), answer("Three."))
    result = run("--url", scripted(dialogue).url, text="a\n\nb\n/new\nc\n/quit\n")
    assert result.exit_code == 0
    assert "Functions: " in result.stdout
    assert [line for line in result.stdout.splitlines() if line.endswith(".")][-3:] == [
        "you> One.", "you> you> Two.", "you> you> Three."
    ]  # fmt: skip
    said = [[message["content"] for message in body["messages"]] for body in dialogue.bodies]
    assert said == [["a"], ["a", "One.", "b"], ["c"]]


def test_what_fails_is_told_and_the_history_before_it_stays(scripted: Serve) -> None:
    dialogue = Dialogue(
        answer("One."),
        calling(("math-calculate", {"expression": "1+1"})),
        chunk("Tw"),  # the server goes away in the middle
        refusal(400, "The prompt has 9000 tokens.", "messages"),
        answer("Three."),
    )
    result = run("--url", scripted(dialogue).url, text="a\nb\nc\nd\n")
    assert result.exit_code == 0
    assert "closed the connection before the answer was complete. (/new starts over)" in result.stderr
    assert "The prompt has 9000 tokens. (/new starts over)" in result.stderr
    assert [message["content"] for message in dialogue.bodies[-1]["messages"]] == ["a", "One.", "d"]


def test_a_plugin_that_complains_and_a_function_that_is_none_are_told_to_the_model(scripted: Serve) -> None:
    dialogue = Dialogue(
        calling(("math-calculate", {"expression": "1/0"}), ("math-unheard_of", {})), answer("Sorry.")
    )
    result = run("--url", scripted(dialogue).url, "divide!")
    assert result.stdout == "Sorry.\n"
    told = [m["content"] for m in dialogue.bodies[1]["messages"] if m["role"] == "tool"]
    assert "divides by zero" in told[0]
    assert "not part of the provided tools" in told[1]
    assert "Traceback" not in result.stderr


def test_a_long_or_hostile_result_is_one_plain_line(scripted: Serve, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\x1b[2J\x07first\n" + "x" * 5000)
    dialogue = Dialogue(calling(("files-read_file", {"path": "a.txt"})), answer("\x1b]0;title\x07 ok"))
    result = run("--url", scripted(dialogue).url, "--plugin", f"files:{tmp_path}", "read")
    [_, shown] = result.stderr.splitlines()
    assert shown.startswith("← files-read_file: \N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}first x")
    assert shown.endswith(" characters)")
    assert len(shown) < 250
    assert "\x1b" not in result.output


def test_an_answer_that_was_cut_off_says_so(scripted: Serve) -> None:
    cut = chunk("It is") + chunk(finish_reason="length") + b"data: [DONE]\n\n"
    result = run("--url", scripted(Dialogue(cut)).url, "what?")
    assert (result.stdout, result.stderr) == ("It is\n", "(cut off at the limit of tokens)\n")


def test_no_server_is_told_with_how_to_start_it() -> None:
    port = free_port()
    result = run("--url", f"http://127.0.0.1:{port}", "hi")
    assert result.exit_code == 1
    assert f"Start it with: localphi serve --port {port}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "localhost:8000"], "--url: base_url must be like http://localhost:8000"),
        (["--plugin", "wether"], "--plugin is time, math, units or files:FOLDER, but 'wether' came."),
        (["--plugin", "files"], "but 'files' came."),
        (["--plugin", "files:/no/such/folder"], "A folder is wanted, but /no/such/folder is none."),
    ],
)
def test_bad_options_are_one_sentence(arguments: list[str], said: str) -> None:
    result = run(*arguments, "hi")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("missing", ["localphi_agents", "semantic_kernel"])
def test_a_missing_extra_is_named(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from localphi.cli import main; main()"
    command = [sys.executable, "-c", code, "agent", "hi"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: 'localphi agent' needs more than is installed ({missing} is missing). "
        "Install it with: pip install 'localphi[agents]'\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_stops_the_answer_and_the_conversation_goes_on(scripted: Serve) -> None:
    closed = threading.Event()
    bodies = []

    def script(connection: Connection) -> None:
        bodies.append(connection.body)
        if len(bodies) == 1:
            connection.send(STREAM_HEAD + chunk("Half"))
            connection.wait_for_close()
            return closed.set()
        return connection.send(STREAM_HEAD + answer("Whole."))

    command = [sys.executable, "-c", AGENT, "--url", scripted(script).url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("a\n")
        process.stdin.flush()
        seen = ""
        while not seen.endswith("Half"):
            seen += process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        assert closed.wait(60)
        out, err = process.communicate("b\n/quit\n", timeout=60)
    assert "Whole." in out
    assert "(stopped)" in err
    assert process.returncode == 0
    assert [message["content"] for message in bodies[1]["messages"]] == ["a", "Half", "b"]


def test_the_demo_model_answers_with_functions_at_hand(demo_server: LiveServer) -> None:
    result = run(
        "--url", demo_server.url, "--plugin", "math", "--max-tokens", "60", "--temperature", "0", "Hi"
    )
    assert result.exit_code == 0 or "max_tokens" in result.stderr
    assert "Traceback" not in result.stderr


def test_with_a_model_of_its_own_it_needs_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALPHI_HOME", str(tmp_path))
    result = run(
        "--here", "--plugin", "math", "--temperature", "0", "--max-tokens", "60", "What is localphi?"
    )
    assert result.output.startswith("localphi ")
    result = run("--here", "--model", "nope", "hi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.strip() == "Error: There is no model 'nope'. Known models: localphi-demo."


# ---- MCP


def test_tools_of_an_mcp_server_are_called(scripted: Serve) -> None:
    dialogue = Dialogue(calling(("troublesome-add", {"a": 2, "b": 3})), answer("5"))
    result = run("--url", scripted(dialogue).url, "--mcp-server", TOOL_SERVER, "2 + 3?")
    assert (result.exit_code, result.stdout) == (0, "5\n")
    assert result.stderr == '→ troublesome-add({"a": 2, "b": 3})\n← troublesome-add: 5\n'
    names = {tool["function"]["name"].split("-")[0] for tool in dialogue.bodies[0]["tools"]}
    assert names == {"troublesome"}


def test_two_mcp_servers_and_a_plugin_stand_side_by_side(scripted: Serve) -> None:
    dialogue = Dialogue(
        calling(("troublesome_2-die", {})), calling(("troublesome-big", {}), turn=2), answer("?")
    )
    options = ["--mcp-server", TOOL_SERVER, "--mcp-server", TOOL_SERVER, "--plugin", "math"]
    result = run("--url", scripted(dialogue).url, *options, "go")
    assert result.stdout == "?\n"
    names = {tool["function"]["name"].split("-")[0] for tool in dialogue.bodies[0]["tools"]}
    assert names == {"troublesome", "troublesome_2", "math"}
    told = [message["content"] for message in dialogue.bodies[2]["messages"] if message["role"] == "tool"]
    assert told[0].endswith("is not there any more.")
    assert len(told[1]) < 16_100


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mcp-server", "no-such-program-here", "hi"], "cannot be started: No such file"),
        (["--mcp-server", " ", "hi"], "The command of an MCP server is empty."),
        (["--mcp-server", "http://127.0.0.1:1/mcp", "hi"], "No MCP server answers at http://127.0.0.1:1/mcp"),
    ],
)
def test_an_mcp_server_that_cannot_be_reached_is_one_sentence(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert said in result.stderr


def test_a_question_to_an_mcp_server_is_refused() -> None:
    result = run("--mcp", "hi")
    assert result.exit_code == 2
    assert "leave out QUESTION" in result.stderr


def test_a_port_that_is_taken_is_told(scripted: Serve) -> None:
    server = scripted(Dialogue(answer("x")))
    result = run("--mcp-port", str(server.server_address[1]))
    assert result.exit_code == 1
    assert "cannot be served: Address already in use. Choose another with --mcp-port." in result.stderr


async def test_the_command_is_an_mcp_server_over_stdio(scripted: Serve) -> None:
    dialogue = Dialogue(calling(("math-calculate", {"expression": "6*7"}), text="Let me see."), answer("42"))
    command = [sys.executable, "-c", AGENT, "--mcp", "--url", scripted(dialogue).url, "--plugin", "math"]
    async with McpTools(command) as client:
        assert client.name == "localphi"
        [tool] = client.tools
        assert tool.description.endswith("Functions it can call: math-calculate.")
        assert await client.call("ask_phi", {"question": "6*7?"}) == "42"
    assert [message["role"] for message in dialogue.bodies[1]["messages"]] == ["user", "assistant", "tool"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
async def test_ctrl_c_ends_the_server_although_its_input_is_open() -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AGENT, "--mcp", stdin=pipe, stdout=pipe
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
    assert b'"id":1' in await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 30) == -signal.SIGINT


async def test_an_mcp_client_is_told_that_the_model_server_is_not_there() -> None:
    port = free_port()
    command = [sys.executable, "-c", AGENT, "--mcp", "--url", f"http://127.0.0.1:{port}"]
    async with McpTools(command) as client:
        with pytest.raises(ToolFailed, match=f"Start it with: localphi serve --port {port}"):
            await client.call("ask_phi", {"question": "hi"})


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
async def test_the_command_is_an_mcp_server_over_http_until_ctrl_c(scripted: Serve) -> None:
    url = scripted(Dialogue(answer("Hello."))).url
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AGENT, "--mcp-port", "0", "--url", url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    line = (await process.stdout.readline()).decode()
    async with McpTools(line.split()[-1]) as client:
        assert await client.call("ask_phi", {"question": "Hi"}) == "Hello."
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        with pytest.raises(ToolServerError):
            await asyncio.wait_for(client.call("ask_phi", {"question": "Hi"}), 60)
