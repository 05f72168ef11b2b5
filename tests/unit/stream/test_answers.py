"""What is made of the answers to one record that was just written."""

from ctrlplane_stream.stream.answers import Answer, of_the_record


def _answer(environment: str, *, repeated: bool = False) -> Answer:
    return Answer(environment, False, ("said",), "decisions", 0, 1, repeated=repeated)


def test_a_fact_that_came_twice_is_answered_by_its_decision() -> None:
    """As a catalog's do that was told ahead of what relied on it, or where a worker began again."""
    done, again, elsewhere = _answer("lab"), _answer("lab", repeated=True), _answer("shop")
    assert of_the_record([done, again, elsewhere]) == (done, elsewhere)


def test_a_record_that_was_just_written_and_is_called_a_repetition_is_no_success() -> None:
    """It was taken for what stood at its offset before, and nothing came of it."""
    done, lost = of_the_record([_answer("lab"), _answer("shop", repeated=True)])
    assert (done.in_vain, lost.in_vain) == (False, True)
    assert "Say it again" in lost.reasons[-1]
