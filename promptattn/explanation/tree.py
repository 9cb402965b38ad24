"""A prompt's tree as plain data: what stands in what, with the weights after nesting."""

from dataclasses import dataclass

from promptattn.prompt import Alternate, And, Blend, Break, Node, Part, Prompt, Schedule, Span

__all__ = ["TreeNode", "tree_of"]


@dataclass(frozen=True)
class TreeNode:
    """A node of the tree, with its range in the text as written (-1 where it has none).

    `kind`: `text` (with `text` and `weight`) and `break`; `schedule` with the children `before` and `after`;
    `alternate` with its `option`s; `and` and `blend` with their `part`s, each with its `weight`. A schedule's `when` is
    as written, in `unit` (`step` or `fraction`), and `switch` the number of steps done before it switches.
    """

    kind: str
    text: str | None = None
    weight: float | None = None
    when: float | None = None
    unit: str | None = None
    switch: int | None = None
    start: int = -1
    end: int = -1
    children: tuple["TreeNode", ...] = ()


def tree_of(prompt: Prompt, steps: int) -> tuple[TreeNode, ...]:
    """The nodes of the prompt, for a run of `steps`."""
    return tuple(_node(node, steps) for node in prompt.nodes)


def _node(node: Node, steps: int) -> TreeNode:
    match node:
        case Span():
            return TreeNode("text", text=node.text, weight=node.weight, start=node.start, end=node.end)
        case Break():
            return TreeNode("break", start=node.start, end=node.end)
        case Schedule():
            inside = (_branch("before", node.before, steps), _branch("after", node.after, steps))
            switch = node.switch(steps)
            return TreeNode("schedule", None, None, node.when, node.unit, switch, node.start, node.end, inside)
        case Alternate():
            options = tuple(_branch("option", option, steps) for option in node.options)
            return TreeNode("alternate", start=node.start, end=node.end, children=options)
        case And():
            return TreeNode("and", children=tuple(_part(part, steps) for part in node.parts))
        case Blend():
            return TreeNode("blend", children=tuple(_part(part, steps) for part in node.parts))


def _branch(kind: str, prompt: Prompt, steps: int) -> TreeNode:
    return TreeNode(kind, children=tree_of(prompt, steps))


def _part(part: Part, steps: int) -> TreeNode:
    return TreeNode("part", weight=part.weight, children=tree_of(part.prompt, steps))
