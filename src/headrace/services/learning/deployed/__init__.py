"""Registered ONNX models that answer at the inference doors beside the online ones.

apply -> the hub is asked once, with the rights of who applies -> looked at, opened in the process that answers -> a record and
the model's bytes in the company's folder -> ``/infer``. Nothing of it is in the log: a deployment learns nothing.
"""
