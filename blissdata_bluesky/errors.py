"""Every error this package raises on purpose: one root, and children that also inherit the natural builtin."""


class BlissdataBlueskyError(Exception):
    """Root of all errors of this package.

    A message names what was touched (run, stream, key, file or URL without its password), what
    happened, and what to do about it.
    """


class RedisServerNotFoundError(BlissdataBlueskyError, FileNotFoundError):
    """No Redis or Valkey executable with the JSON and Search modules is installed."""


class RedisServerStartError(BlissdataBlueskyError, RuntimeError):
    """The embedded server was started and did not become ready."""


class RedisTargetError(BlissdataBlueskyError, RuntimeError):
    """The Redis behind a URL cannot be used as it is: a permanent fault that retrying cannot mend."""


class RedisURLError(RedisTargetError, ValueError):
    """The Redis URL cannot be parsed."""


class RedisPermissionError(RedisTargetError, PermissionError):
    """Redis refused the user name, the password, or a command that is needed."""


class RedisModulesError(RedisTargetError):
    """The server lacks the JSON or the Search module."""


class RedisDatabaseError(RedisTargetError):
    """The database holds other data, or another version of blissdata's protocol."""


class RedisUnreachableError(BlissdataBlueskyError, ConnectionError):
    """Nothing answers at the URL now; it may later."""


class DocumentError(BlissdataBlueskyError, ValueError):
    """A Bluesky document cannot be taken as it is; the run goes on without it."""


class JournalError(BlissdataBlueskyError, OSError):
    """A journal cannot be written, read or locked."""


class JournalOwnedError(JournalError):
    """A journal belongs to a process that is publishing it now."""


class JournalTargetError(JournalError):
    """A journal's run was published to another Redis than the one that was given."""


class WriterLossError(BlissdataBlueskyError, RuntimeError):
    """A document could be kept nowhere, and the writer was told to end the plan then (`on_loss="abort"`)."""


class RunNotFoundError(BlissdataBlueskyError, KeyError):
    """No run with this uid is known, or it has been deleted."""

    __str__ = Exception.__str__


class StreamNotFoundError(BlissdataBlueskyError, KeyError):
    """The run has no Bluesky stream of this name."""

    __str__ = Exception.__str__


class RunUnavailableError(BlissdataBlueskyError, ConnectionError):
    """The run exists, but its source (Redis, file) does not answer now."""


class RowsTrimmedError(BlissdataBlueskyError, IndexError):
    """The memory tracker has removed these rows from Redis, and no other source has them."""


class DamagedRunError(BlissdataBlueskyError, ValueError):
    """What is stored of a run does not fit the format that this version reads."""


class ArchiveFormatError(DamagedRunError):
    """A file is no archived run, or one of a newer format."""


class ArchiveError(BlissdataBlueskyError, OSError):
    """A run cannot be archived now; its journal is kept."""


class ArchiveRefusedError(ArchiveError):
    """A run's file would lie outside the archive, or another file is in its place."""


class CatalogError(BlissdataBlueskyError, OSError):
    """The database behind `--catalog` cannot be opened or used."""


class TiledServerError(BlissdataBlueskyError, RuntimeError):
    """The Tiled server did not start."""


class ExternalDataError(BlissdataBlueskyError):
    """Frames that a detector wrote to files of its own cannot be had; the rest of the run can."""


class ExternalRootsError(ExternalDataError, ValueError):
    """What was given as directories of detector files, or as their map, is none."""


class ExternalRefusedError(ExternalDataError, PermissionError):
    """A detector's file lies outside the directories that may be read, or leads out of them."""


class ExternalMissingError(ExternalDataError, FileNotFoundError):
    """A detector's file, or the dataset in it, is not there."""


class ExternalNotReadyError(ExternalDataError, ConnectionError):
    """A detector's file is locked, truncated or has fewer frames than the documents say: it may have them later."""


class ExternalFormatError(ExternalDataError, ValueError):
    """A detector's file is of a kind, dtype or shape that cannot be read here as the documents say."""
