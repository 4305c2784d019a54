# Thin: each line calls something that also works by itself. Everything sets itself up first.
#   make demo                                  the main job, on a short generated drive
#   make demo MODEL=yolox_nano SOURCE=a.mp4    any card, any picture, video, bag or /dev/videoN
#   make demo-lidar                            the same for a lidar, on a short simulated drive
#   make demo-lidar SOURCE=sweeps/             any bag, .bin or .pcd file, or folder of them
#   make build MODEL=yolox_nano ONNX=a.onnx    what building its engine would do, on any machine
#   make build FLAVOUR=tensorrt                builds it: tensorrt on a Jetson, or tensorrt_rtx
#   make test                                  every test; ends with what was not run, and why
#   make unit                                  those that need no ROS and do not take long
#   make lint                                  ruff, mypy, and our calls of TensorRT against its types
#   make bench                                 what a camera frame costs on this CPU, and on its way
#   make bench-monitor                         what watching the board costs
#   make clean                                 deletes what the others made, .deps and out too
PYTHON ?= python3
MODEL ?= demo
SOURCE ?=
FLAVOUR ?=
ARGS ?=
ENV = . tools/env.sh

.PHONY: setup demo demo-lidar build test unit lint bench bench-monitor clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@$(PYTHON) tools/setup.py

demo-lidar: MODEL = demo_lidar
demo demo-lidar: setup
	@bash -c '$(ENV) && exec python tools/demo.py --card "$(MODEL)" --source "$(SOURCE)" --onnx "$(ONNX)"'

build: setup
	@bash -c '$(ENV) && exec ros2 run trt_builder trt_build "$(MODEL)" $(if $(ONNX),--onnx "$(ONNX)") \
		$(if $(FLAVOUR),--flavour $(FLAVOUR),--dry-run) $(ARGS)'

test: setup
	@bash -c '$(ENV) && exec python -m pytest test -n auto'

unit: setup
	@bash -c '$(ENV) && exec python -m pytest test -n auto -m "not slow and not ros"'

lint: setup
	@bash -c '$(ENV) && ruff check . && ruff format --check . && mypy && python tools/tensorrt_types.py'

bench: setup
	@bash -c '$(ENV) && exec python tools/bench --card "$(MODEL)" --onnx "$(ONNX)"'

bench-monitor: setup
	@bash -c '$(ENV) && exec python tools/bench/monitor.py $(ARGS)'

clean:
	rm -rf .deps build install log out
