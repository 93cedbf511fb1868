"""The benchmarks as text: answers, held against slow readers of the same text, and what only examples reveal."""

import itertools
import math

import pytest
import torch

from minilmm.world import asked, corpus, instructed, printed, stories, styles
from minilmm.world.examples import by_convention, ideal, ideal_auc, posterior
from minilmm.world.grammar import ABSENT, KNOWN, compact, join, plain
from minilmm.world.vocabulary import (
    ALL_SHAPES,
    COLOURS,
    CONVENTIONS,
    DIGITS,
    MATERIALS,
    NUMBERS,
    PLACES,
    SHAPES,
    SOUNDS,
    TEXTURES,
    VERBS,
    ids,
    tokenizer,
)

T = tokenizer()
ASKS = [
    asked.questions, asked.counting, asked.induction, asked.knowledge, asked.photographs, asked.dialogue, asked.memes,
    asked.objects, printed.signs, printed.tables, printed.panels, printed.boxes, printed.instructions,
    stories.video_questions, stories.temporal, stories.actions, styles.captions, styles.novel_captions,
    styles.video_captions, styles.steps, instructed.instructions,
]  # fmt: skip
REVEALING = {asked.questions, asked.counting, asked.induction, asked.knowledge, asked.photographs, asked.memes,
             printed.signs, printed.tables, printed.panels, printed.boxes, stories.video_questions, styles.captions,
             styles.novel_captions, styles.video_captions, styles.steps}  # fmt: skip


def words(row):
    return T.decode([i % KNOWN for i in row.tolist() if i >= 0])


def read(ask, documents=60, n=3, seed=0, split="train"):
    """(description, prompt, answer) of every example, and the examples."""
    found = ask(documents, n, torch.Generator().manual_seed(seed), split)
    return [tuple(map(words, row)) for row in zip(found.descriptions, found.prompts, found.answer, strict=True)], found


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.__name__)
def test_a_document_answers_by_its_hypothesis_and_the_right_answer_is_among_the_options(ask):
    _, found = read(ask)
    H = found.answers.shape[1]
    assert (H > 1) == (ask in REVEALING) and bool((found.answer != ABSENT).any(1).all())
    for b, h in enumerate(found.hypothesis.tolist()):
        for i in range(b * found.each, (b + 1) * found.each):
            assert torch.equal(found.answer[i], found.answers[i, h])
    if found.options is not None:
        for b, options in enumerate(found.options):
            texts = [words(option) for option in options if (option != ABSENT).any()]
            assert texts.count(words(found.answer[(b + 1) * found.each - 1])) == 1 and len(set(texts)) == len(texts)
    if found.kind is not None and found.kinds:
        assert set(found.kind.tolist()) <= set(range(len(found.kinds)))


def test_by_the_second_convention_numbers_truths_and_sizes_have_other_words():
    for one, other in zip(*CONVENTIONS, strict=True):
        both = by_convention(ids(one)[None])
        assert [words(row) for row in both[0]] == [one, other]
    assert [words(row) for row in by_convention(ids("red top")[None])[0]] == ["red top"] * 2


def test_instructions_are_followed_and_those_of_tests_are_new():
    """Read by a slow reader: which attributes are named, in which order, and whether a sentence is wanted."""
    places = {"size": 0, "texture": 1, "color": 2, "shape": 3}
    asked_for = {}
    for split in ("train", "held-out"):
        asked_for[split] = {}
        triples, found = read(instructed.instructions, 400, 2, split=split)
        for (description, prompt, answer), kind in zip(triples, found.kind.tolist(), strict=True):
            own, what = description.split(), [word for word in prompt.split() if word in places]
            said = " ".join(own[places[word]] for word in what)
            sentence = "in a sentence" in prompt
            assert answer == (f"it is {said}" if sentence else said)
            assert sentence or f"in {('one word', 'two words', 'three words')[len(what) - 1]}" in prompt
            asked_for[split].setdefault(kind, set()).add(((tuple(what), sentence), prompt))
        prompts = [prompt for _, prompt, _ in triples]
        assert prompts[::2] == prompts[1::2]  # one instruction for all examples of a document
    tasks = {
        split: {kind: {task for task, _ in some} for kind, some in kinds.items()} for split, kinds in asked_for.items()
    }
    old, prompts = set(instructed.TASKS), {prompt for _, prompt in asked_for["train"][0]}
    assert tasks["held-out"][0] | tasks["train"][0] <= old and not tasks["held-out"][1] & old
    assert not prompts & {prompt for some in asked_for["held-out"].values() for _, prompt in some}
    assert {word for what, _ in old for word in what} == set(places) and {form for _, form in old} == {False, True}


def test_names_mean_the_shape_that_they_were_given():
    for line in corpus.meanings(40, 160, torch.Generator().manual_seed(0), "train"):
        meant = {}
        for part in words(line).removeprefix("<bos>").split(". <EOC>"):
            if "?" in part and "answer :" in part and part.split("answer :")[1].strip():
                name = part.split("the ")[1].split()[0]
                assert part.split("answer :")[1].strip(" .") == meant[name]
            elif "question" not in part and part.strip():
                *described, name = part.split()
                (meant[name],) = [word for word in described if word in SHAPES]


def test_dialogues_name_the_object_and_then_the_other_one():
    for description, prompt, answer in read(asked.dialogue)[0]:
        objects = [o.split() for o in description.split(" and ")]
        first, _, rest = prompt.removeprefix("question : what ").partition(" is the ")
        shape = rest.split()[0]
        own, other = sorted(objects, key=lambda o: shape not in o)
        place = {"size": 0, "texture": 1, "color": 2}
        second = prompt.split("question : what ")[2].split()[0]
        assert f"? answer : {own[place[first]]} ." in prompt
        about = other if "the other one" in prompt else own
        assert answer == about[place[second]]


def test_memes_ask_for_picture_and_text_together():
    """Each alone says nothing about the label, and two memes that agree in all that can count are alike."""
    found, examples = read(asked.memes, 400, 4)
    rules = [("colour", True), ("shape", True), ("colour", False), ("shape", False)]
    for i, (description, prompt, answer) in enumerate(found):
        _, colour, shape = description.split()
        text = prompt.split()[2:4]
        agree = {"colour": text[0] == colour, "shape": text[1] == shape}
        what, good = rules[int(examples.hypothesis[i // 4])]
        assert answer == ("good" if agree[what] == good else "bad")
    labels = torch.tensor([answer == "good" for *_, answer in found])
    for part in (0, 1):  # a colour of the picture, a colour of the text
        for colour in COLOURS[:5]:
            here = torch.tensor([(d.split()[1], p.split()[2])[part] == colour for d, p, _ in found])
            share, n = labels[here].float().mean(), int(here.sum())
            assert abs(share - 0.5) < 3.5 * 0.5 / math.sqrt(n)


def test_photographs_hide_what_cannot_be_answered():
    hides = {"blurred": "texture", "dark": "color", "cropped": "shape"}
    tables = {"texture": TEXTURES, "color": COLOURS, "shape": ALL_SHAPES}
    seen = set()
    found, examples = read(asked.photographs, 200)
    for i, (description, prompt, answer) in enumerate(found):
        flaw, what = description.split()[0], prompt.split()[3]
        shown = [w for w in description.split() if w in tables[what]]
        strict = bool(examples.hypothesis[i // 3] == 1)
        hidden = hides.get(flaw) == what
        assert (not shown) == hidden
        assert answer == ("unanswerable" if hidden or (strict and flaw in hides) else shown[0])
        seen.add((flaw in hides, hidden, strict))
    assert len(seen) == 6


def test_absent_objects_are_absent_and_as_frequent_as_present_ones():
    found, examples = read(asked.objects, 500, 2)
    yes = torch.tensor([answer == "yes" for *_, answer in found])
    for description, prompt, answer in found:
        thing = prompt.removeprefix("question : is there a ").removesuffix(" ? answer :")
        there = any(thing == " ".join(o.split()[2:4]) for o in description.split(" and "))
        assert answer == ("yes" if there else "no")
    for kind in range(3):
        share = yes[examples.kind == kind].float().mean()
        assert 0.4 < share < 0.62
    alone, kinds = read(asked.objects, 900, 1)
    assert 0.4 < torch.tensor([a == "yes" for *_, a in alone])[kinds.kind == 1].float().mean() < 0.62


def test_facts_are_those_of_the_corpus():
    for description, _, answer in read(asked.knowledge)[0]:
        texture, colour, shape = (
            next(w for w in description.split() if w in t) for t in (TEXTURES, COLOURS, ALL_SHAPES)
        )
        facts = {
            PLACES[ALL_SHAPES.index(shape) % 6],
            MATERIALS[COLOURS.index(colour) % 6],
            SOUNDS[TEXTURES.index(texture)],
        }
        assert answer in facts


def test_tables_panels_signs_and_boxes_are_read_where_they_say():
    one = {"one": 0, "two": 1, "three": 2}
    both = dict(zip(NUMBERS, DIGITS, strict=True))
    for description, prompt, answer in read(printed.tables)[0]:
        rows = [row.split()[1:] for row in description.split("row ")[1:]]
        r, c = (one[prompt.split()[i]] for i in (6, 8))
        assert both.get(answer, answer) == rows[r][c] and len({len(row) for row in rows}) == 1
    for description, prompt, answer in read(printed.panels)[0]:
        shown = [panel.split(" : ")[1].strip() for panel in description.split("panel ")[1:]]
        if "odd" in prompt:
            (odd,) = [i for i in range(3) if shown.count(shown[i]) == 1]
            assert both.get(answer, answer) == str(odd + 1)
        else:
            assert answer == shown[one[prompt.split()[6]]]
    found, examples = read(printed.signs)
    for i, (description, _, answer) in enumerate(found):
        top, bottom = description.removeprefix("sign top ").split(" bottom ")
        assert answer == (top, bottom)[int(examples.hypothesis[i // 3])]
    found, examples = read(printed.boxes)
    for i, (description, prompt, answer) in enumerate(found):
        _, wide, high, *objects = description.split()
        if "how large" in prompt:
            told = [wide], [high]
        else:
            thing = prompt.removeprefix("question : where is the box of the ").removesuffix(" ? answer :")
            (box,) = [o.split(" at ")[1].split() for o in " ".join(objects).split(" and ") if o.startswith(thing)]
            assert box[::2] == ["left", "top", "right", "bottom"]
            assert int(box[1]) <= int(box[5]) and int(box[3]) <= int(box[7])
            told = box[:2], box[2:4], box[4:6], box[6:]
        turned = [told[j ^ 1] for j in range(len(told))]
        assert answer.split() == list(itertools.chain(*(told, turned)[int(examples.hypothesis[i // 3])]))


def events_of(description):
    """A story's events without textures, "red circle grows"."""
    return [" ".join(w for w in event.split() if w not in TEXTURES) for event in description.split(" then ")]


def test_stories_are_asked_about_truly():
    both = dict(zip(NUMBERS, DIGITS, strict=True)) | {"yes": "true", "no": "false"}
    for description, prompt, answer in read(stories.video_questions, 200)[0]:
        events = events_of(description)
        does = {" ".join(e.split()[:2]): e.split()[2] for e in events if "pushes" not in e}
        asked_for = prompt.removeprefix("question : ").removesuffix(" ? answer :")
        if asked_for.startswith("what does the "):
            expected = does[asked_for.removeprefix("what does the ").removesuffix(" do")]
        elif asked_for.startswith("what color"):
            (expected,) = [who.split()[0] for who, deed in does.items() if deed == asked_for.split()[-1]]
        elif asked_for.startswith("what "):
            (expected,) = [who for who, deed in does.items() if deed == asked_for.split()[-1]]
        elif asked_for.startswith("how many"):
            expected = NUMBERS[len(events)]
        else:
            who, _, deed = asked_for.removeprefix("is there a ").partition(" that ")
            expected = "yes" if does[who] == deed else "no"
        assert answer in (expected, both.get(expected, expected))


def test_what_happened_before_after_and_why():
    found, examples = read(stories.temporal, 300, 1)
    for description, prompt, answer in found:
        events = events_of(description)
        event = " ".join(prompt.removesuffix(" ? answer :").split()[-3:])
        at = events.index(event)
        wanted = events[at - 1] if "before" in prompt else events[at + 1] if "after" in prompt else events[0]
        assert answer == wanted and (("why" in prompt) == ("pushes" in description))
    # Who guesses by what stands in most of the options is right as often as who picks one of the four that look alike.
    hits = []
    for b, options in enumerate(examples.options):
        texts = [words(option).split() for option in options]
        common = [sum(sum(a == c for a, c in zip(one, other, strict=False)) for other in texts) for one in texts]
        best = [i for i, value in enumerate(common) if value == max(common)]
        hits.append(sum(" ".join(texts[i]) == found[b][2] for i in best) / len(best))
    assert abs(sum(hits) / len(hits) - 0.25) < 0.08


def test_rare_pairs_of_verb_and_shape_are_in_no_text_and_asked_for_last():
    text = " ".join(
        words(row) for name in ("video questions", "temporal", "actions", "video captions", "steps", "named videos")
        for row in corpus.MIXTURE[name][0](60, 200, torch.Generator().manual_seed(1), "all")
    )  # fmt: skip
    rare = [(verb, shape) for (v, verb), (s, shape) in itertools.product(enumerate(VERBS), enumerate(ALL_SHAPES))
            if (v + s) % len(VERBS) == 0]  # fmt: skip
    for verb, shape in rare:
        assert f" {shape} {verb}" not in text and f" {shape} that {verb}" not in text
    assert "circle grows" in text
    generator = torch.Generator().manual_seed(2)
    found = stories.actions(400, 2, generator, "held-out", rarely=True)
    yes = []
    for i in range(800):
        description, prompt, answer = (words(x[i]) for x in (found.descriptions, found.prompts, found.answer))
        shape, _, verb = prompt.removeprefix("question : is there a ").removesuffix(" ? answer :").partition(" that ")
        assert ((verb, shape) in rare) == (i % 2 == 1)
        assert answer == ("yes" if f"{shape} {verb}" in description else "no")
        yes.append(answer == "yes")
    assert 0.42 < sum(yes) / 800 < 0.58


def test_captions_keep_their_style_and_tell_the_truth():
    found, examples = read(styles.captions, 100)
    for i, (description, _, answer) in enumerate(found):
        opening, article, textured, _ = styles.STYLES[int(examples.hypothesis[i // 3])]
        assert answer.startswith(opening) and ("a" in answer.split()) == article
        assert any(w in TEXTURES for w in answer.split()) == textured
        assert set(answer.removeprefix(opening).split()) - {"a"} <= set(description.split())
    kinds = torch.tensor(
        [s in ALL_SHAPES[12:] for d, _, _ in read(styles.novel_captions, 300, 2)[0] for s in d.split()[3:4]]
    )
    assert not bool(kinds[::2].any()) and 0.2 < kinds[1::2].float().mean() < 0.47  # only the last picture is novel


def test_ideal_observers_by_hand():
    """Two conventions are known after one example; the third of three facts needs no more; a coin stays a coin."""
    assert ideal(asked.counting, 0) == 0.5 and ideal(asked.counting, 1) == 1.0
    assert ideal(asked.knowledge, 0) == pytest.approx(1 / 3, abs=0.001)
    assert ideal(stories.temporal, 0) == 1.0
    assert ideal(styles.captions, 0) == pytest.approx(1 / len(styles.STYLES)) and ideal(styles.captions, 1) == 1.0
    assert ideal_auc(asked.memes, 0) == pytest.approx(0.5) and ideal_auc(asked.memes, 16) > 0.999
    # Of nine kinds of questions five have answers by convention: after k examples it is known but with (4/9)^k.
    for shots in (0, 2):
        unknown = (4 / 9) ** shots
        assert ideal(asked.questions, shots) == pytest.approx(1 - 5 / 9 * unknown / 2, abs=0.02)


def test_posterior_is_bayes_rule():
    """Against a loop over hypotheses: those under which all earlier answers would have been given."""
    _, found = read(asked.memes, 30, 3)
    shares = posterior(found)
    for b in range(30):
        fits = [all(torch.equal(found.answers[i, h], found.answer[i]) for i in (3 * b, 3 * b + 1)) for h in range(4)]
        assert shares[b].tolist() == pytest.approx([fit / sum(fits) for fit in fits])


def test_the_corpus_marks_what_can_be_known():
    """Answers, and names from their second time on, but no name's first time and no word of a description."""
    ids_, known = corpus.sample_text(200, 128, torch.Generator().manual_seed(0), without=("lists",))
    assert known.dtype == torch.bool and 0.1 < known[ids_ > 0].float().mean() < 0.5
    assert int(ids_.max()) < len(T) and not bool(known[ids_ == 0].any())
    for row in corpus.bindings(40, 96, torch.Generator().manual_seed(1), "all"):
        seen, marked = set(), row >= KNOWN
        text = [T.words[i] for i in (row % KNOWN).tolist()]
        dots = [i for i, word in enumerate(text) if word == "."]
        for i in dots[text[1] == "answer" :]:  # a first sentence lists the names
            assert bool(marked[i - 1]) == (text[i - 1] in seen)
            seen.add(text[i - 1])
    for name in ("questions", "skills", "asked", "memes", "tables"):
        for row in corpus.MIXTURE[name][0](6, 96, torch.Generator().manual_seed(2), "all"):
            text = [T.words[i] for i in (row % KNOWN).tolist()]
            answers = [i + 2 for i, word in enumerate(text[:-2]) if word in ("answer", "label") and text[i + 1] == ":"]
            assert answers and all(row[i] >= KNOWN or text[i] == "<pad>" for i in answers)


def test_plain_text_has_no_marks():
    marked = join(torch.tensor([[5, ABSENT, 7]]) + torch.tensor([[KNOWN, 0, 0]]), "red")
    assert compact(plain(marked)).tolist() == [[5, 7, int(ids("red"))]]
    assert len(SHAPES) == 12 and len(set(ALL_SHAPES)) == 16


def test_several_questions_about_one_picture_are_answered_in_turn():
    for ask, count in ((printed.tables, 4), (printed.boxes, 2), (stories.video_questions, 3)):
        examples = ask(20, 2, torch.Generator().manual_seed(0), "train", asked=count)
        for row, prompt in enumerate(plain(examples.prompts).tolist()):
            text = tokenizer().decode([word for word in prompt if word >= 0])
            assert text.count("question :") == text.count("answer :") == count and text.endswith("answer :")
            assert text.count("<EOC>") == count - 1
            answer = tokenizer().decode([word for word in examples.answer[row].tolist() if word >= 0])
            last = text.rpartition("question :")[2]
            before = [turn for turn in text.split("question :")[1:-1] if turn.startswith(last)]
            assert all(turn == f"{last} {answer} . <EOC> " for turn in before)  # the same question, the same answer


def test_sentences_give_the_hypothesis_away():
    for ask in (asked.memes, printed.signs, printed.boxes):
        examples = ask(40, 2, torch.Generator().manual_seed(0), "train")
        said = examples.first(torch.ones(40, dtype=torch.bool))
        lines = [tokenizer().decode([word for word in row if word >= 0]) for row in said.tolist()]
        assert lines == [examples.sentences[h] for h in examples.hypothesis.tolist()]
        assert len(set(examples.sentences)) == examples.answers.shape[1]
