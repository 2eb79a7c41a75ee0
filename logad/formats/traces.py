"""Tells crashes apart by the exception, its message and the program's own frames."""

from typing import Final

import polars as pl

_MOST_FRAMES: Final = 3
_MOST_SEEN: Final = 50
_NAMED: Final = (
    r"(?:[\w$]+(?:\.|::))*[\w$]*(?:Exception|Error|Throwable|Warning|Exit|Interrupt|Failure|Fault|Panic)"
)
_PREFIX: Final = (
    r"(?:\s*(?:Caused by: |---> |\[cause\]: )"
    r"|Exception in thread \"[^\"\n]*\" |Uncaught |Unhandled exception[.:] )"
)
# An exception at the start of a line, with what is said of it.
_RAISED: Final = (
    rf"(?m)^(?:{_PREFIX}?{_NAMED}(?:: [^\n]*)?|{_PREFIX}[\w$.]+: [^\n]*|(?:panic|fatal error): [^\n]*)$"
)
_RUBY_RAISED: Final = r"(?m)^[^\s:]+:\d+:in [`'][^'`\n]*[`']: (?P<told>[^\n]*) \((?P<named>[A-Z][\w:]*)\)$"
_RAILS_RAISED: Final = r"(?m)^(?P<named>[A-Z][\w:]*) \((?P<told>[^\n]*)\):$"
_PYTHON: Final = "Traceback (most recent call last):"

# A frame by language: how it is written, what of it names the function, in order from the innermost call.
_AT: Final = r"(?m)^[ \t]*at (?:async |new )*[^\s(][^(\n]*\([^\n]*\)"  # Java, Node, .NET
_AT_NAME: Final = r"(?s)^[ \t]*at (?:async |new )*(?:[\w.@-]+/+)*([^\s(]+).*$"
_FILE: Final = r"(?m)^[ \t]*File \"[^\"\n]+\", line [0-9]+, in \S+"  # Python
_FILE_NAME: Final = r"(?s)^.*?([^/\\\"]+?)(?:\.py)?\", line [0-9]+, in (\S+).*$"
_GO: Final = r"(?m)^[^\s(][^\n]*\([^\n]*\)\n\s+\S+\.go:[0-9]+"
_GO_NAME: Final = r"(?s)^(.+)\([^()\n]*\)\n.*$"
_RUBY: Final = r"(?m)[^\s:]+\.rb:[0-9]+:in [`'][^'`\n]*[`']"
_RUBY_NAME: Final = r"(?s)^.*?([^/:]+)\.rb:[0-9]+:in [`'](?:block (?:\([^)]*\) )?in )?([^'`]+).*$"

# The standard library, and what runs programs: frames that say little of where a program broke.
_STANDARD: Final = (
    r"^[ \t]*at (?:async |new )*(?:javax?\.|jdk\.|sun\.|com\.sun\.|kotlin|scala\.|System\.|[\w.]+/java\.)"
    r"|\(node:|\(internal/|at <anonymous>|\(<anonymous>\)"
    r"|^runtime\.|^panic\(|^testing\.|/go/src/|/libexec/src/"
    r"|/lib/python[\d.]+/(?:[^/]+\.py|[a-z_]+/[^/]+\.py)\"|<frozen |/lib/ruby/[\d.]+/[^/]+\.rb|<internal:"
)
_FRAMEWORK: Final = (
    r"at (?:async |new )*(?:jakarta|groovy|clojure|akka|reactor|android|androidx|dalvik|ch\.qos"
    r"|Microsoft|Newtonsoft|Npgsql"
    r"|org\.(?:springframework|apache|hibernate|eclipse|junit|gradle|jboss|mortbay|aspectj|slf4j|quartz|postgresql)"
    r"|io\.(?:netty|vertx|undertow|grpc|quarkus|micronaut|reactivex)"
    r"|com\.(?:zaxxer|fasterxml|google|mysql|mongodb|netflix|squareup))\."
    r"|node_modules|(?:site|dist)-packages|/pkg/mod/|/vendor/|/gems/"
)


def heads(texts: pl.Series) -> pl.Series:
    r"""What tells kinds of record apart: the first line, and of a stack trace which crash it is.

    That is the last exception with its message, and up to three innermost functions of the program's own
    (neither the standard library's nor a framework's, if there are others), for Java, Python, Go, Node, .NET
    and Ruby.

    >>> trace = "it broke\n  at f()\nCaused by: java.io.IOException: disk\n  at a.B.c(B.java:7)"
    >>> heads(pl.Series(["plain", trace])).to_list()
    ['plain', 'it broke | java.io.IOException: disk | a.B.c']
    """
    long = pl.col("text").str.contains("\n", literal=True)
    frame = texts.fill_null("").rename("text").to_frame()
    if not frame.select(long.any()).item():
        return frame["text"]
    spread = frame.with_row_index("at")
    whole = spread.filter(long)
    text = pl.col("text")
    first = text.str.split_exact("\n", 1).struct.field("field_0").str.strip_chars_end("\r ")
    parts = whole.unique("text").select(text, first=first, raised=_raised(text), frames=_frames(text))
    traced = parts.select("text", head=_head(pl.col("first"), pl.col("raised"), pl.col("frames")))
    told = whole.join(traced, on="text", how="left").select("at", "head")
    return spread.join(told, on="at", how="left", maintain_order="left").select(
        pl.coalesce("head", "text").alias("text")
    )["text"]


def _head(first: pl.Expr, raised: pl.Expr, frames: pl.Expr) -> pl.Expr:
    itself = first.str.contains(_RAISED) | first.str.contains(_RUBY_RAISED) | first.eq(_PYTHON)
    told = pl.when(frames.list.len() > 0).then(frames.list.join(", "))
    kept = pl.when(~itself | raised.is_null()).then(first)
    return pl.concat_str(kept, raised, told, separator=" | ", ignore_nulls=True)


def _raised(text: pl.Expr) -> pl.Expr:
    """The last exception and what is said of it."""
    plain = text.str.extract_all(_RAISED).list.last().str.replace(rf"^{_PREFIX}", "").str.strip_chars()
    return pl.coalesce(
        plain, *(_told(text.str.extract_groups(regex)) for regex in (_RUBY_RAISED, _RAILS_RAISED))
    )


def _told(groups: pl.Expr) -> pl.Expr:
    return pl.concat_str(groups.struct.field("named"), groups.struct.field("told"), separator=": ")


def _frames(text: pl.Expr) -> pl.Expr:
    """The names of the innermost own functions; of a chain of causes those of the last that has any."""
    found = [
        (text.str.split("Caused by: ").list.last().str.extract_all(_AT), _AT_NAME, "$1"),
        (text.str.extract_all(_AT), _AT_NAME, "$1"),
        (text.str.extract_all(_GO), _GO_NAME, "$1"),
        (text.str.extract_all(_RUBY), _RUBY_NAME, "$1.$2"),
        (text.str.extract_all(_FILE).list.reverse(), _FILE_NAME, "$1.$2"),  # Python calls inwards
    ]
    choices = []
    for strange in (f"{_STANDARD}|{_FRAMEWORK}", _STANDARD):
        for frames, name, told in found:
            own = frames.list.head(_MOST_SEEN).list.eval(
                pl.element().filter(~pl.element().str.contains(strange))
            )
            names = own.list.head(_MOST_FRAMES).list.eval(pl.element().str.replace(name, told))
            choices.append(pl.when(names.list.len() > 0).then(names))
    return pl.coalesce(choices)
