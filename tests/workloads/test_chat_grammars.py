"""A grammar that the engine cannot read ended its process: such a schema is refused before the engine has it."""

from __future__ import annotations

import pytest

from tests.workloads.learning import load as load_template

GRAMMARS = load_template("gguf-chat", "grammars")
SPACE = 'space ::= | " " | "\\n"{1,2} [ \\t]{0,20}\n'


@pytest.mark.parametrize(
    "grammar",
    [
        "",
        SPACE,
        'root ::= "a"{0,3000}\n',
        'root ::= "\\d"\n',
        "root ::= [\\d]\n",
        "root ::= []\n",
        "root ::= other\n",
        "root ::= root\n",
        'root ::= a | "x"\na ::= ("y" | root) "z"\n',
        'root ::= ("a"\n',
        'root ::= "a")\n',
        'root ::= "a"{2}{3}\n',
        "root ::= *\n",
        'root ::= "a\n',
        'root ::= "a"\nroot ::= "b"\n',
        'root = "a"\n',
    ],
)
def test_a_grammar_that_the_engine_cannot_read_is_not_taken(grammar: str) -> None:
    assert not GRAMMARS.is_taken(grammar)


@pytest.mark.parametrize(
    "grammar",
    [
        'char ::= [^"\\\\\\x7F\\x00-\\x1F] | [\\\\] (["\\\\bfnrt] | "u" [0-9a-fA-F]{4})\n'
        'root ::= "\\"" char* "\\"" space\n',
        'root ::= "[" space (root ("," space root)*)? "]" space\n',
        'value ::= root | "null" space\nroot ::= "{" space ( value )? "}" space\n',
    ],
)
def test_a_grammar_of_a_schema_is_taken(grammar: str) -> None:
    assert GRAMMARS.is_taken(grammar + SPACE)
