"""The entries of CounterFact files: ROME's, which are nested, and EasyEdit's, which are flat."""

from __future__ import annotations

from bench.datasets._entries import Entry
from bench.datasets._rows import Asked, LeftOut, Row

__all__ = ["counterfact_row"]


def counterfact_row(entry: Entry, *, name: str) -> Row | LeftOut:
    """Make a row of an entry; its relation is the template of the prompt, `{}` standing for the subject.

    Args:
        entry: of either kind.
        name: of the dataset, with which ids begin.

    Raises:
        DataError: it is of neither kind, or a field is wrong.
    """
    if "requested_rewrite" in entry:
        row = _nested(entry, name)
    elif "ground_truth" in entry and "target_new" in entry:
        row = _flat(entry, name)
    else:
        raise entry.wrong(
            "this is neither an entry of ROME's file (case_id, requested_rewrite, paraphrase_prompts, "
            "neighborhood_prompts) nor of EasyEdit's (case_id, prompt, subject, ground_truth, target_new, "
            f"rephrase_prompt, locality_prompt, locality_ground_truth); its fields are {', '.join(entry.values)}"
        )
    if row.subject is None or row.subject not in row.prompt:
        raise entry.wrong(f"the subject {row.subject!r} does not occur in its prompt {row.prompt!r}")
    if not str(row.target).strip() or row.target == row.old_target:
        return LeftOut("the new answer is empty or the old one")
    return row


def _nested(entry: Entry, name: str) -> Row:
    rewrite = entry.part("requested_rewrite")
    template, subject = rewrite.text("prompt"), rewrite.text("subject")
    if template.count("{}") != 1:
        raise entry.wrong(f"the prompt {template!r} must have one {{}} for the subject")
    true, new = rewrite.part("target_true").text("str"), rewrite.part("target_new").text("str")
    return _row(
        entry,
        name,
        template=template,
        subject=subject,
        true=true,
        new=new,
        rephrases=entry.texts("paraphrase_prompts"),
        asked=tuple(Asked(prompt, true, "relation") for prompt in entry.texts("neighborhood_prompts")),
    )


def _flat(entry: Entry, name: str) -> Row:
    prompt, subject = entry.text("prompt"), entry.text("subject")
    return _row(
        entry,
        name,
        template=prompt.replace(subject, "{}") if subject else prompt,
        subject=subject,
        true=entry.text("ground_truth"),
        new=entry.text("target_new"),
        rephrases=(entry.text("rephrase_prompt"),),
        asked=(Asked(entry.text("locality_prompt"), entry.text("locality_ground_truth"), "relation"),),
    )


def _row(
    entry: Entry,
    name: str,
    *,
    template: str,
    subject: str,
    true: str,
    new: str,
    rephrases: tuple[str, ...],
    asked: tuple[Asked, ...],
) -> Row:
    prompt = template.replace("{}", subject)
    return Row(
        id=f"{name}/{entry.name('case_id')}",
        where=entry.where,
        group=subject,
        prompt=prompt,
        target=new,
        subject=subject or None,
        old_target=true,
        alternative=true,
        gold=true,
        rephrases=tuple(text for text in rephrases if text.strip() and text != prompt),
        asked=tuple(one for one in asked if one.prompt.strip() and one.answer.strip() and one.prompt != prompt),
        relation=template,
        is_named=True,
    )
