"""Reads what stands under the attributes of a class, in its source."""

import ast
import inspect
import textwrap
from itertools import pairwise


def attribute_docs(cls: type) -> dict[str, str]:
    """Attribute -> the text under it, for the attributes that the class itself annotates.

    Where there is no source there are no texts.

    >>> from logad.redaction import Config
    >>> attribute_docs(Config)["enabled"]
    'Replace secrets in evidence and reasons before they are stored or sent.'
    """
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):  # TypeError: of a class that was typed in
        return {}
    (definition,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for attribute, below in pairwise(definition.body):
        match attribute, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                texts[name] = inspect.cleandoc(text)
    return texts
