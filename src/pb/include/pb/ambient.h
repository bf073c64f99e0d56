/* The generated messages of package ambient.v1. */
#pragma once

#include "ambient/v1/common.pb-c.h"
#include "ambient/v1/inbox.pb-c.h"
#include "ambient/v1/project_settings.pb-c.h"
#include "ambient/v1/projects.pb-c.h"
#include "ambient/v1/sessions.pb-c.h"
#include "ambient/v1/users.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
