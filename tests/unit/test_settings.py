"""A wrong setting ends the process at once, naming the variable."""

import pytest
from finetune_operator.settings import Settings


def test_defaults_need_no_environment() -> None:
    assert Settings.from_environment({}) == Settings()


def test_each_field_has_its_variable_and_type() -> None:
    settings = Settings.from_environment(
        {
            "FINETUNE_OPERATOR_TRAINER_IMAGE": "trainer:1",
            "FINETUNE_OPERATOR_NAMESPACES": "a, b,,",
            "FINETUNE_OPERATOR_WORKERS": "3",
            "FINETUNE_OPERATOR_BACKOFF_SECONDS": "0.5",
            "FINETUNE_OPERATOR_LOG_LEVEL": "DEBUG",
            "FINETUNE_OPERATOR_IMAGE_PULL_POLICY": "Never",
            "PATH": "/bin",
        }
    )
    assert settings.trainer_image == "trainer:1"
    assert settings.namespaces == ("a", "b")
    assert (settings.workers, settings.backoff_seconds) == (3, 0.5)
    assert (settings.log_level, settings.image_pull_policy) == ("DEBUG", "Never")


@pytest.mark.parametrize("name", ["TRAINER_USER", "METRICS_JOB_LIMIT"])
def test_some_numbers_may_be_zero(name: str) -> None:
    settings = Settings.from_environment({f"FINETUNE_OPERATOR_{name}": "0"})
    assert getattr(settings, name.lower()) == 0


def test_empty_variable_is_the_default() -> None:
    assert Settings.from_environment({"FINETUNE_OPERATOR_PORT": ""}).port == 8080


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("WORKERS", "many", "not a number"),
        ("WORKERS", "1.5", "not a number"),
        ("PORT", "0", "greater than 0"),
        ("TRAINER_USER", "-1", "greater than 0"),
        ("METRICS_JOB_LIMIT", "1e3", "not a number"),
        ("TRAINER_USER", "nobody", "not a number"),
        ("SWEEP_INTERVAL_SECONDS", "-1", "greater than 0"),
        ("SWEEP_INTERVAL_SECONDS", "nan", "greater than 0"),
        ("LEASE", "operator", "not namespace/name"),
        ("LEASE", "/operator", "not namespace/name"),
        ("LEASE", "a/b/c", "not namespace/name"),
        ("LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING or ERROR"),
        ("IMAGE_PULL_POLICY", "Sometimes", "Always, IfNotPresent or Never"),
    ],
)
def test_wrong_value_is_refused_by_the_name_of_its_variable(
    name: str, text: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        Settings.from_environment({f"FINETUNE_OPERATOR_{name}": text})
    assert f"FINETUNE_OPERATOR_{name}" in str(refused.value)
    assert text in str(refused.value)
