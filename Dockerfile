# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
#
# On a Jetson (JetPack 6):   docker build --build-arg BASE=dustynv/ros:humble-desktop-l4t-r36.4.0 -t jetson_perception .
# Anywhere else:             docker build -t jetson_perception .
# Run (room for images):     docker run --rm -it --shm-size=512m jetson_perception
ARG BASE=ros:jazzy

FROM ${BASE} AS deps
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive PIP_BREAK_SYSTEM_PACKAGES=1
WORKDIR /ws
COPY src/trt_interfaces/package.xml src/trt_interfaces/package.xml
COPY src/trt_engine/package.xml src/trt_engine/package.xml
COPY src/trt_builder/package.xml src/trt_builder/package.xml
COPY src/trt_inference/package.xml src/trt_inference/package.xml
COPY src/jetson_monitor/package.xml src/jetson_monitor/package.xml
COPY src/trt_validation/package.xml src/trt_validation/package.xml
COPY src/trt_bringup/package.xml src/trt_bringup/package.xml
COPY tools/requirements/runtime.txt tools/requirements/runtime.txt
# The dusty-nv images carry ROS built from source, and OpenCV, NumPy and TensorRT of their own, which
# apt must not double: every package that is there already is skipped. Humble and Jazzy are built for
# NumPy 1, and their launch_testing for pytest 8.
RUN apt-get update \
    && apt-get install -y --no-install-recommends make python3-pip python3-rosdep python3-colcon-common-extensions \
    && source "$(ls -d /opt/ros/*/install/setup.bash /opt/ros/*/setup.bash 2>/dev/null | head -n 1)" \
    && (rosdep init || true) && rosdep update --rosdistro "$ROS_DISTRO" \
    && present="$(ros2 pkg list | tr '\n' ' ')" \
    && if python3 -c 'import cv2'; then present="$present python3-opencv python3-numpy"; fi \
    && rosdep install -y --from-paths src --ignore-src --rosdistro "$ROS_DISTRO" --skip-keys "$present" \
    && pip3 install --no-cache-dir 'numpy<2' -r tools/requirements/runtime.txt \
    && rm -rf /var/lib/apt/lists/*

FROM deps AS build
COPY . /ws
RUN source "$(ls -d /opt/ros/*/install/setup.bash /opt/ros/*/setup.bash 2>/dev/null | head -n 1)" \
    && colcon build --base-paths src

FROM build AS test
COPY tools/requirements/test.txt tools/requirements/test.txt
RUN pip3 install --no-cache-dir 'numpy<2' 'pytest<9' -r tools/requirements/test.txt \
    && source install/setup.bash \
    && python3 -m pytest test

FROM deps AS runtime
COPY --from=build /ws/install /ws/install
COPY tools/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "trt_bringup", "perception.launch.py"]
