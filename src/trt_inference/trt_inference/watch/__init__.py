# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What is seen, for people: the watch node."""
