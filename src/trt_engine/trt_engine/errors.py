# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Every way this suite can fail, as a tree.

* PerceptionError
  + CardError              a model card that cannot be used as written
  + ModelFileError         the ONNX file that a card names is missing, damaged or not the one meant
    - ModelNotFetchedError the card names a URL and nothing has been downloaded yet
    - FetchError           a download failed, was refused, or brought other bytes than promised
  + BackendError           something that runs networks could not
    - BackendUnavailableError  this machine lacks what the backend needs
    - ModelLoadError           the backend refused the network
      . EngineMismatchError    it is an engine for another TensorRT or GPU, or a damaged one
    - InferenceError           a loaded network failed while running
  + ImageError             an image message that cannot be read as what it says it is
  + PointsError            a point cloud that cannot be read as what it says it is
  + FusionError            a calibration or boxes with which camera and lidar cannot be fused
  + DecodeError            network outputs that do not have the form that the card's head promises
  + ConfigError            a parameter or command-line value that is not allowed
  + SourceError            a bag, video, folder or device that cannot be replayed
  + BuildError             an engine that was asked for does not come
    - BuildRefusedError    what is asked cannot be had here; said before the build starts
    - BuildFailedError     the build started and did not end well
    - CalibrationError     calibration data that must not decide the scales of an engine
    - CheckFailedError     a built engine that does not see what its model sees
    - NoReferenceError     a built engine that there is nothing to compare with
  + StoreError             an engine, or the store of engines, that must not be used
  + MemoryBudgetError      networks and cameras that do not fit into the memory there is

Each message says what went wrong, what was found, what was wanted, and what to do next.
"""

from __future__ import annotations


class PerceptionError(Exception):
    """Base of every error that this suite raises on purpose."""


class CardError(PerceptionError):
    """A model card that cannot be used as written; the text names file, key, value, allowed."""


class ModelFileError(PerceptionError):
    """The ONNX file that a card names is missing, damaged, or not the one meant."""


class ModelNotFetchedError(ModelFileError):
    """The card names a URL and nothing has been downloaded yet."""


class FetchError(ModelFileError):
    """A download failed, was refused, or brought other bytes than the card promises."""


class BackendError(PerceptionError):
    """Something that runs networks could not."""


class BackendUnavailableError(BackendError):
    """This machine lacks what the backend needs."""


class ModelLoadError(BackendError):
    """The backend refused the network."""


class EngineMismatchError(ModelLoadError):
    """An engine that is for another TensorRT or another GPU, or is damaged."""


class InferenceError(BackendError):
    """A loaded network failed while running."""


class ImageError(PerceptionError):
    """An image message that cannot be read as what it says it is."""


class PointsError(PerceptionError):
    """A point cloud that cannot be read as what it says it is."""


class FusionError(PerceptionError):
    """A calibration or boxes with which camera and lidar cannot be fused."""


class DecodeError(PerceptionError):
    """Network outputs that do not have the form that the card's head promises."""


class ConfigError(PerceptionError):
    """A parameter or command-line value that is not allowed."""


class SourceError(PerceptionError):
    """A bag, video, folder or device that cannot be replayed."""


class BuildError(PerceptionError):
    """An engine that was asked for does not come."""


class BuildRefusedError(BuildError):
    """What is asked cannot be had here; said before the build starts."""


class BuildFailedError(BuildError):
    """The build started and did not end well."""


class CalibrationError(BuildError):
    """Calibration data that must not decide the scales of an engine."""


class CheckFailedError(BuildError):
    """A built engine that does not see what its model sees."""


class NoReferenceError(BuildError):
    """A built engine that there is nothing to compare with."""


class StoreError(PerceptionError):
    """An engine, or the store of engines, that must not be used."""


class MemoryBudgetError(PerceptionError):
    """Networks and cameras that do not fit into the memory there is."""
