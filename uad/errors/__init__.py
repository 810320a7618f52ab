"""Everything uad raises on purpose, one line each: what, where, and the cure.

UadError
├── NotInstalledError an optional part of uad that is not installed
├── DiskError         a file or folder that cannot be read or written, or a full disk
├── ConfigError       a setting that does not exist, has the wrong type or an impossible value
├── DataError         a folder, manifest or dataset version that cannot be used
│   ├── ImageError    one image that cannot be decoded or is refused
│   │   ├── ImageTooLargeError  it has more pixels than the limit
│   │   └── UnsupportedImageError  it is whole, but of a kind that is not read (32-bit values)
│   └── InvalidNameError  what cannot name a dataset or a product; also a RegistryError
├── TeacherError      teacher weights missing, altered, or not those that the bundle was made with
├── TrainingError     training cannot go on (diverged, no checkpoint, wrong resume)
├── BundleError       a bundle that is incomplete, altered or of another format
├── EngineError       an engine, device or precision that cannot be had here
├── CalibrationError  no calibration for this engine, or too few images for the alpha asked
├── RegistryError     the model registry lacks a name, version or alias, or refuses a move
│   └── RegistryUnreachableError  its server or database does not answer
├── GateError         a promotion that the rule does not allow
├── FlowError         a run that Prefect cannot start, or a schedule that cannot be
│   └── BusyError         another run of the same product is under way
└── ServingError      the server cannot start or cannot answer
    ├── RequestRefused    one request that is answered with a status and our own words
    └── EngineLostError   an engine process ended, or was ended, before it answered
"""

from uad.errors.redaction import without_passwords


class UadError(Exception):
    """Base of all errors that a user can cause or fix; the CLI prints it as one line.

    Its text holds no passwords, wherever it is shown, logged or stored.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(without_passwords(a) if isinstance(a, str) else a for a in args))


class NotInstalledError(UadError):
    """An optional part of uad that is not installed."""


class DiskError(UadError):
    """A file or folder that cannot be read or written, or a full disk."""


class ConfigError(UadError):
    """A setting that does not exist, has the wrong type or an impossible value."""


class DataError(UadError):
    """A folder, manifest or dataset version that cannot be used."""


class ImageError(DataError):
    """One image that cannot be decoded or is refused."""

    image: str | None = None
    """Its path or URL as the caller wrote it, where a pipeline read it."""


class ImageTooLargeError(ImageError):
    """The image has more pixels than the limit; found in its header, before decoding."""


class UnsupportedImageError(ImageError):
    """The image is whole, but of a kind that is not read; the message says how to export it."""


class TeacherError(UadError):
    """Teacher weights missing, altered, or not those that the bundle was made with."""


class TrainingError(UadError):
    """Training cannot continue."""


class BundleError(UadError):
    """A bundle that is incomplete, altered or of another format."""


class EngineError(UadError):
    """An engine, device or precision that cannot be had here."""


class CalibrationError(UadError):
    """No calibration for this engine, or too few images for the alpha asked."""


class RegistryError(UadError):
    """The model registry is unreachable or lacks what was asked for."""


class RegistryUnreachableError(RegistryError):
    """The registry's server or database does not answer; what was fetched before still works."""


class InvalidNameError(DataError, RegistryError):
    """A name that a product and its dataset cannot have."""


class GateError(UadError):
    """A promotion that the rule does not allow."""


class FlowError(UadError):
    """A run that Prefect cannot start, or a schedule that cannot be."""


class BusyError(FlowError):
    """Another run of the same product is still running."""


class ServingError(UadError):
    """The server cannot start or cannot answer."""


class RequestRefused(ServingError):  # noqa: N818 - read as `raise RequestRefused(413, ...)`
    """One request that is answered with an HTTP status of 4xx or 5xx and our own words.

    Made anew for each request: an exception that is raised again keeps the frames of every time
    before, and what they held.
    """

    def __init__(
        self, status: int, message: str, *, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class EngineLostError(ServingError):
    """An engine process ended before it answered, or was ended because it took too long.

    `began` is whether it had got the request, which may then be what broke it.
    """

    def __init__(self, message: str, *, slow: bool = False, began: bool = False) -> None:
        super().__init__(message)
        self.slow = slow
        self.began = began
