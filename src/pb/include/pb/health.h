/* The generated messages of package grpc.health.v1. */
#pragma once

#include "grpc/health/v1/health.pb-c.h"
