"""Shapes in which people keep chats, instructions and benchmarks: they are known without being told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from lvmfast.corpus.columns import ALIASES
from lvmfast.corpus.dataset import Column
from lvmfast.corpus.expressions import heads_of


@dataclass(frozen=True)
class Shape:
    """What rows look like that have no field called text."""

    name: str
    text: str  #: all that is said in a row: its text where it is trained on
    question: str | None = None  #: what is asked in it: its text where it is an evaluation item; None: `text`
    passage: str | None = None
    choices: str | None = None
    answer: str | None = None

    def items(self) -> dict[Column, str]:
        """The mapping of evaluation items."""
        roles: dict[Column, str | None] = {
            "text": self.question or self.text,
            "passage": self.passage,
            "choices": self.choices,
            "answer": self.answer,
        }
        return {column: field for column, field in roles.items() if field is not None}


def _of_messages(list_: str, role: str, content: str, user: str, model: str) -> Shape:
    asked, answered = (f"{list_}[{role}={who}].{content}" for who in (user, model))
    return Shape("chat", f"{list_}[*].{content}", asked, answer=answered)


#: Those with more fields stand before those with some of them.
_AT_THE_TOP = (
    _of_messages("messages", "role", "content", "user", "assistant"),
    _of_messages("conversations", "from", "value", "human", "gpt"),
    _of_messages("conversations", "role", "content", "user", "assistant"),
    _of_messages("conversation", "role", "content", "user", "assistant"),
    Shape("instructions", "instruction+input+output", "instruction+input", answer="output"),
    Shape("instructions", "instruction+context+response", "instruction", "context", answer="response"),
    Shape("instructions", "instruction+output", "instruction", answer="output"),
    Shape("instructions", "instruction+response", "instruction", answer="response"),
    Shape("preferences", "prompt+chosen+rejected", "prompt", answer="chosen"),
    Shape("preferences", "chosen[*].content+rejected[*].content", "chosen[role=user].content"),
    Shape("preferences", "chosen+rejected"),
    Shape("prompts", "prompt[*].content+completion[*].content", "prompt[*].content"),
    Shape("prompts", "prompt+completion", "prompt", answer="completion"),
    Shape("prompts", "prompt+response", "prompt", answer="response"),
    Shape("prompts", "prompt+canonical_solution", "prompt", answer="canonical_solution"),
    Shape("problems", "problem+solution", "problem", answer="solution"),
    Shape("questions", "context+question+answers.text[*]", "question", "context", answer="answers.text[*]"),
    Shape("questions", "question+choices.text[*]", "question", choices="choices.text[*]"),
    Shape("questions", "question_stem+choices.text[*]", "question_stem", choices="choices.text[*]"),
    Shape("questions", "passage+question", "question", "passage"),
    Shape("questions", "question+choices[*]", "question", choices="choices[*]"),
    Shape("questions", "question+answer", "question", answer="answer"),
    Shape("questions", "question+best_answer", "question", answer="best_answer"),
    Shape("endings", "ctx+endings[*]", "ctx", choices="endings[*]"),
    Shape("endings", "goal+sol1+sol2", "goal", choices="sol1+sol2"),
    Shape("endings", "sentence+option1+option2", "sentence", choices="option1+option2"),
    Shape("texts", "content"),
    Shape("texts", "document"),
    Shape("prompts", "prompt"),
    Shape("questions", "question"),
)


def _in_doc(shape: Shape) -> Shape:
    """The same shape of a sample that lm-evaluation-harness logged, which has the item in one field."""

    def inside(fields: str | None) -> str | None:
        return fields and "+".join(f"doc.{field}" for field in fields.split("+"))

    roles = {role: inside(getattr(shape, role)) for role in ("question", "passage", "choices", "answer")}
    return replace(shape, name="samples", text=str(inside(shape.text)), **roles)


SHAPES = (
    *_AT_THE_TOP,
    *(_in_doc(shape) for shape in _AT_THE_TOP if shape.name in ("questions", "endings", "problems")),
)


#: The fields that tell a shape.
HEADS = frozenset(head for shape in SHAPES for head in heads_of(shape.text))


def shaped(
    mapping: Mapping[Column, str], names: Collection[str], fits: Callable[[str], bool]
) -> tuple[dict[Column, str], str | None]:
    """The mapping with what the shape of a file adds to it, and a note that says so, or None.

    Args:
        mapping: of columns to fields. One that has ``question`` is of evaluation items.
        names: the fields of the file.
        fits: whether a field or an expression is there and makes texts.
    """
    if "text" in mapping or any(alias in names for alias in ALIASES["text"]):
        return dict(mapping), None
    fitting = [shape for shape in SHAPES if fits(shape.text)]
    if not fitting:
        return dict(mapping), None
    shape = fitting[0]
    of_shape: dict[Column, str] = shape.items() if "question" in mapping else {"text": shape.text}
    own = {column: field for column, field in mapping.items() if field != column}
    note = f"{of_shape['text']}: read as text, as rows look like {shape.name}"
    heads = set(heads_of(shape.text))
    others = [other.text for other in fitting if not heads.issuperset(heads_of(other.text))]
    if others:
        note += f" (and also like {', '.join(others)}, which are not read)"
    return {**mapping, **of_shape, **own}, None if of_shape["text"] == "question" else note
