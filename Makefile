# The front door. `make` builds, `make run` starts the platform, `make test` runs every test.
# The build itself is meson's: after the first `make`, `ninja -C build` is enough.
BUILD ?= build
NINJA ?= ninja

.PHONY: all deps run test test-kube bench format fuzz install clean

all: deps $(BUILD)/build.ninja
	$(NINJA) -C $(BUILD)
	@scripts/link-programs.sh $(BUILD)

deps:
	@scripts/deps.sh build

$(BUILD)/build.ninja: | deps
	meson setup $(BUILD)

run: all
	scripts/run.sh

test:
	@scripts/deps.sh test
	scripts/test.sh

# Against a real etcd and kube-apiserver, then with a real kubelet and containerd beside, which needs root. The first
# time builds them, which takes some minutes.
test-kube:
	@scripts/deps.sh test
	scripts/test.sh kube pods

bench:
	@scripts/deps.sh bench
	$(MAKE) all
	bench/run.sh

format:
	scripts/format.sh

fuzz:
	@scripts/deps.sh test
	scripts/fuzz.sh

install: all
	meson install -C $(BUILD)

clean:
	rm -rf build build-*
