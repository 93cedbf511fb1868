"""Known-wrong answers to exercise 01."""

from minilmm.course.exercises import Mutant

MUTANTS = [
    Mutant("no-end-of-chunk", (("*words, EOC]", "*words]"),),
           "demonstrations do not end with <EOC>, so that nothing tells where one stops", caught_by="a_demonstration"),
    Mutant("tag-behind", (("[IMAGE, *words, EOC]", "[*words, IMAGE, EOC]"),),
           "the picture stands behind its words, not before them", caught_by="a_demonstration"),
    Mutant("closed-query", (("[*ids, IMAGE]", "[*ids, IMAGE, EOC]"),),
           "the query is closed with <EOC>, so that nothing is left to be said", caught_by="zero_shots"),
    Mutant("given-order-ignored", (("for place in order", "for place in range(len(order))"),),
           "the demonstrations keep their own order", caught_by="the_order"),
    Mutant("pictures-left-behind", (("[*pictures, query]", "[*shown, query]"),),
           "the words are put in order and the pictures are not: every name goes with another picture",
           caught_by="the_order"),
    Mutant("query-first", (("[*pictures, query]", "[query, *pictures]"),),
           "the query's picture comes first, while its tag comes last", caught_by="the_order"),
    Mutant("answer-shown", (("if query in shown", "if query in shown[:0]"),),
           "a query may be among its demonstrations, where its answer can be copied", caught_by="no_answer_in_the_prompt"),
    Mutant("last-left-open", (('return [*ids, IMAGE], ', 'return [*ids[: -1 if order else None], IMAGE], '),),
           "the last demonstration is not closed by <EOC>", caught_by="a_demonstration"),
    Mutant("one-word", (('*words, EOC', '*words[:1], EOC'),),
           "only the first word of each demonstration is shown", caught_by="a_demonstration"),
    Mutant("only-the-first-looked-at", (('query in shown:', 'query in shown[:1]:'),),
           "only the first demonstration's picture is compared with the query's", caught_by="no_answer_in_the_prompt"),
]  # fmt: skip
