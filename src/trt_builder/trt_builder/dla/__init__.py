# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What of a model a deep learning accelerator can run."""
