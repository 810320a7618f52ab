import re
import tomllib

import pytest

from tests.conftest import ROOT
from uad.errors import NotInstalledError
from uad.errors.extras import EXTRAS, cure, require, require_storage

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_each_extra_that_a_cure_names_is_one_of_the_project() -> None:
    assert set(EXTRAS) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("extra", ["train", "serving", "openvino", "dask", "distill"])
def test_the_packages_of_an_extra_have_a_cure(extra: str) -> None:
    modules = {"scikit-learn": "sklearn", "mlflow-skinny": "mlflow"}
    for line in PROJECT["optional-dependencies"][extra]:
        name = re.split(r"[\[<>=]", line)[0]
        if name != "uad":
            told = cure(modules.get(name, name.replace("-", "_")))
            assert "pip install 'uad[" in told, name


def test_what_is_missing_is_named_with_its_cure() -> None:
    require("numpy")
    with pytest.raises(NotInstalledError, match="pip install no_such_module"):
        require("numpy", "no_such_module.part")


def test_a_store_whose_package_is_missing_is_refused() -> None:
    require_storage("file:///artifacts")
    require_storage("mlflow-artifacts:/1")
    with pytest.raises(NotInstalledError, match="pip install azure-storage-blob"):
        require_storage("wasbs://models@account.blob.core.windows.net/1")
