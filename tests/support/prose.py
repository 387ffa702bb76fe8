"""Places where comments, docstrings and pages break a rule of prose that a pattern can find (STYLE.md, rules 1 to 6).

Patterns have false positives: the list is for a reader, no test fails because of it.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from typing import NamedTuple

UNITS = (
    'tick|step|image|picture|second|minute|hour|kimg|run|batch|process|rank|gpu|pixel|channel|class|file|row|line|snapshot|'
    'state|network|layer|seed|metric|picture|worker|micro-batch|call|launch|name|value|sample|axis|byte|word|image'
)
RATE = re.compile(rf'\b(?:an?|one|two|three|four|\d[\d.,]*)\s+[\w-]+\s+an?\s+(?:{UNITS})\b', re.IGNORECASE)
NOT_USED = {
    'is told, tells': re.compile(r'\b(?:is|are|was|were|be|been|being) told\b|\btells?\b'),
    'stands': re.compile(r'\bstands?\b(?!-ins?\b| in for\b)'),
    'goes on': re.compile(r'\b(?:go|goes|going|went|gone) on\b'),
    'anew': re.compile(r'\banew\b'),
    'alike': re.compile(r'\balike\b'),
    'mend': re.compile(r'\bmend(?:s|ed|ing)?\b'),
    'be had, be known': re.compile(r'\bbe (?:had|known)\b'),
    'whoever': re.compile(r'\bwho(?:m|so)?ever\b'),
    'beside': re.compile(r'\bbeside\b'),
    'at hand': re.compile(r'\bat hand\b'),
    '"for" as because': re.compile(
        r'[,;:] for (?:it|they|the|an?|this|that|these|there|we|no|its|their|each|every)\b[^.]*'
        r'\b(?:is|are|was|were|has|have|can|does|do|must|may|would|will)\b'
    ),
    '"but" as except': re.compile(r'\b(?:nothing|none|all|any\w*|every\w*|no\w*) (?:\w+ )?but\b'),
}
PREPOSITION = re.compile(
    r'(?:of|for|as|to|by|from|with|without|in|into|on|at|than|among|between|beyond|under|over|against|after|before|since|'
    r'until|during|where|which|that|because)\b'
)
BAD_START = re.compile(r'(?:What|Where|That|Of|As)\b')
VERB = re.compile(
    r'(?!(?:This|Its|Is|As|Has|Less|Always|Plus|Thus|Us|Yes|Across|Perhaps|Besides)\b)[A-Z][a-z-]*s\b|Whether\b'
)
DIRECTIVE = re.compile(r'(?:noqa|type:|fmt:|pragma|isort)')


class Finding(NamedTuple):
    """One place that a reader should look at."""

    rule: str
    path: str
    line: int
    text: str


def in_python(path: str, source: str) -> Iterator[Finding]:
    """Yields the findings of a Python file."""
    tree = ast.parse(source)
    for line, text, continued in comments(source):
        if not continued and PREPOSITION.match(text):
            yield Finding('3 comment begins with a preposition', path, line, text)
        yield from in_text(path, line, text)
    yield from in_docstring(path, 1, tree, 'noun')
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from in_docstring(path, node.lineno, node, 'noun')
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from in_docstring(path, node.lineno, node, 'noun' if is_property(node) else 'verb')
            if lacks_args(node):
                yield Finding('5 no Args: for three or more arguments', path, node.lineno, node.name)
        elif isinstance(node, ast.BinOp) and is_conditional_product(node):
            yield Finding('6 text * condition', path, node.lineno, ast.unparse(node))


def in_docstring(path: str, line: int, node: ast.AST, kind: str) -> Iterator[Finding]:
    """Yields the findings of a docstring.

    Args:
        path: The file.
        line: Line of the definition.
        node: The definition.
        kind: 'verb' for functions, 'noun' for the others.
    """
    text = ast.get_docstring(node)  # type: ignore[arg-type]
    if not text:
        return
    head = text.splitlines()[0]
    is_test = getattr(node, 'name', '').startswith('test_')
    if BAD_START.match(head):
        yield Finding('1 docstring begins with What, Where, That, Of, As', path, line, head)
    elif kind == 'verb' and not is_test and not VERB.match(head):
        yield Finding('1 docstring does not begin with a verb', path, line, head)
    for number, words in enumerate(text.splitlines()):
        yield from in_text(path, node.body[0].lineno + number, words)  # type: ignore[attr-defined]


def in_text(path: str, line: int, text: str) -> Iterator[Finding]:
    """Yields the findings of a line of prose by rules 2 and 4.

    Args:
        path: The file.
        line: Number of the line.
        text: The line.
    """
    if RATE.search(text):
        yield Finding('2 a rate without "per"', path, line, text.strip())
    for name, pattern in NOT_USED.items():
        if pattern.search(text):
            yield Finding(f'4 {name}', path, line, text.strip())


def in_cpp(path: str, source: str) -> Iterator[Finding]:
    """Yields the findings of the `//` comments of a C++ file."""
    continued = False
    for number, line in enumerate(source.splitlines(), 1):
        code, mark, text = line.partition('//')
        text = text.strip('/ ')
        if mark and not (continued and not code.strip()) and PREPOSITION.match(text):
            yield Finding('3 comment begins with a preposition', path, number, text)
        if mark:
            yield from in_text(path, number, text)
        continued = bool(mark) and not code.strip()


def in_page(path: str, source: str) -> Iterator[Finding]:
    """Yields the findings of a Markdown page outside of its code blocks."""
    code = False
    for number, line in enumerate(source.splitlines(), 1):
        code ^= line.lstrip().startswith('```')
        if not code:
            yield from in_text(path, number, line)


def comments(source: str) -> Iterator[tuple[int, str, bool]]:
    """Yields line, text and whether the comment continues the line above, for each comment of a Python file."""
    above = None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not DIRECTIVE.match(text := token.string.lstrip('#! ')):
            line, column = token.start
            whole = not token.line[:column].strip()
            yield line, text, whole and above == line - 1
            above = line if whole else None


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function is read like an attribute, or is a fixture, whose docstring names what it gives."""
    return any('property' in ast.unparse(d) or 'fixture' in ast.unparse(d) for d in node.decorator_list)


def lacks_args(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a public function has three or more arguments and a docstring without `Args:`."""
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    text = ast.get_docstring(node)
    return (
        not node.name.startswith(('_', 'test_'))
        and not is_property(node)
        and len([name for name in names if name not in ('self', 'cls')]) >= 3
        and text is not None
        and 'Args:' not in text
    )


def is_conditional_product(node: ast.BinOp) -> bool:
    """Whether a product keeps or drops a text or a list by a condition."""
    if not isinstance(node.op, ast.Mult):
        return False
    text = isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
    condition = isinstance(node.right, (ast.Compare, ast.BoolOp)) or (
        isinstance(node.right, ast.UnaryOp) and isinstance(node.right.op, ast.Not)
    )
    return (text or isinstance(node.left, (ast.List, ast.JoinedStr))) and (
        condition or (isinstance(node.right, ast.Call) and ast.unparse(node.right.func) == 'bool')
    )
