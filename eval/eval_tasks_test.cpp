#include "eval/scoring.h"
