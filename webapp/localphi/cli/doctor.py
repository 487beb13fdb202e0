"""localphi doctor"""

from __future__ import annotations

import json

import click

from localphi.cli.options import settings_from


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Say what this machine can do, and what keeps it from doing more."""
    from localphi.doctor import examine

    findings = examine(settings_from())
    if as_json:
        click.echo(json.dumps([vars(finding) for finding in findings], indent=1))
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            mark = click.style("ok", fg="green") if finding.ok else click.style("!!", fg="yellow")
            click.echo(f"{mark} {finding.subject:<{width}}  {finding.detail}")
    if any(finding.needed and not finding.ok for finding in findings):
        raise SystemExit(1)
