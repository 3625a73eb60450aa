// Stands in for CUDA's header where kernels are compiled as plain C++ and run by the emulator.
#pragma once

#include "cuda_runtime_api.h"
#include "device_math.h"
#include "kernel_language.h"
