/* The generated messages of packages grpc.reflection.v1 and v1alpha; both have the same bytes on the wire. */
#pragma once

#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"
