"""Every stored value of the sibling, 78 cases; and a folder of another shape, written by the plain implementation."""

from __future__ import annotations

import copy

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from tests.reference.folder import GRADIENT_TOLERANCE, LOSS_TOLERANCE, Case, reference_folder
from tests.reference.sibling_folder import SiblingReference, case_name, check_case
from tests.reference.sibling_plain import PlainSibling, computed_case, write_folder

FOLDER = reference_folder()
HAS_SIBLING = (FOLDER / "encoder_decoder.json").is_file()
CASES = SiblingReference.read(FOLDER).cases if HAS_SIBLING else []
VALUES = ("embedding_loss", "cross_entropy", "total", "grad_norm_embedding", "grad_norm_first_attention")

where_stored = pytest.mark.skipif(
    not HAS_SIBLING, reason="no reference values: set DEEPSIGHT_REFERENCE to the folder that holds them"
)

SHAPES = {
    "more encoder": {"vocab_size": 37, "context": 17, "width": 30, "encoder_layers": 3, "decoder_layers": 1}
    | {"heads": 3, "cross_heads": 5, "batch": 2},
    "more decoder": {"vocab_size": 11, "context": 5, "width": 8, "encoder_layers": 1, "decoder_layers": 2}
    | {"heads": 4, "cross_heads": 1, "batch": 1},
}


@where_stored
@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_case(case: Case) -> None:
    check_case(SiblingReference.read(FOLDER), case)


@where_stored
def test_the_plain_implementation_agrees_with_the_original() -> None:
    """The witness itself is checked, so that folders it writes mean something."""
    model = PlainSibling(SiblingReference.read(FOLDER).config)
    tensors = load_file(FOLDER / "encoder_decoder.safetensors")
    model.load_state_dict({name: value for name, value in tensors.items() if not name.startswith("__")})
    for case in CASES[::3]:
        found = computed_case(model, {name: tensors[f"__{name}"] for name in ("tokens", "targets")}, case)
        for key in VALUES:
            if case[key] is not None:
                tolerance = GRADIENT_TOLERANCE if key.startswith("grad") else LOSS_TOLERANCE
                assert_close(found[key], case[key], **tolerance)


@pytest.fixture(scope="module", params=SHAPES)
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SiblingReference:
    folder = tmp_path_factory.mktemp("sibling")
    write_folder(folder, SHAPES[request.param], seed=1)
    return SiblingReference.read(folder)


def test_a_folder_of_another_shape_passes(other: SiblingReference) -> None:
    assert len({case_name(case) for case in other.cases[:78]}) == 78
    for case in other.cases:
        check_case(other, case)


@pytest.mark.parametrize("key", VALUES)
def test_a_wrong_number_is_found(other: SiblingReference, key: str) -> None:
    wrong: Case = copy.deepcopy(other.cases[0])
    wrong[key] = wrong[key] * (1 + 3e-4) if key.startswith("grad") else wrong[key] + 5e-5
    with pytest.raises(AssertionError, match=key):
        check_case(other, wrong)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("order", "ALT"), ("sub", "NO"), ("sub", "YES_LN"), ("addp", True), ("lnff", True), ("useln", False)],
        *[("lossT", "COSINE"), ("det", "EMBEDDING"), ("det", "ENCODER_OUT"), ("eln", "INIT"), ("eln", "AVG_CUM_SUM")],
    ],
)
def test_a_wrong_setting_is_found(other: SiblingReference, key: str, value: object) -> None:
    """No two settings give the same numbers: each of them is really used."""
    published = {"order": "ORIGINAL", "sub": "YES_NO_LN", "addp": False, "lnff": False}
    plain = {"useln": True, "lossT": "MSE", "det": "NONE", "eln": "NONE"}
    case = next(case for case in other.cases if (published | plain).items() <= case.items())
    with pytest.raises(AssertionError):
        check_case(other, {**case, key: value})
