"""What schemathesis must not make up: what a shell of this machine runs."""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.operation.path.endswith("/execute") and isinstance(case.body, dict):
        if isinstance(case.body.get("command"), str):
            case.body["command"] = "true"
