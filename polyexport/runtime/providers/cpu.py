"""ONNX Runtime's CPU provider, which every machine has."""

from polyexport.errors import ContractError, check_memory, reason_of
from polyexport.runtime.onnxruntime_session import CPU, CpuSession, create_session
from polyexport.runtime.provider import MatmulFormat, Provider
from polyexport.runtime.session import SessionOptions

__all__ = ["PROVIDER"]


class _Cpu(Provider):
    name = "cpu"
    execution_provider = CPU
    remedy = "install ONNX Runtime again"
    auto_rank = 1000  # the last resort
    built_in = True
    takes_whole_graph = True

    def open(self, model: bytes, options: SessionOptions) -> CpuSession:
        try:
            session = create_session(model, options)
        except Exception as error:
            check_memory(error, f"loading a model of {len(model)} bytes on cpu")
            raise ContractError(
                f"not a whole ONNX model: {reason_of(error)}", remedy="give a model that `polyexport export` wrote"
            ) from error
        return CpuSession(session, releases_memory=options.releases_memory)

    def matmul_formats(self) -> tuple[MatmulFormat, ...]:
        return ("float32", "int8")


PROVIDER = _Cpu()
