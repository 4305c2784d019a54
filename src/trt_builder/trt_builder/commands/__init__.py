# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The verbs of `trt_build`: a module each, with SUMMARY, EXAMPLE, `add_arguments` and `run`."""
