import numpy as np, pyarrow as pa
from lvmfast import _core
from lvmfast.leaks.texts import text_buffers
def id_keys(a):
    import pyarrow.compute as pc
    v=~a.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_integer(a.type):
        k=np.column_stack([np.zeros(len(a),np.uint64), pc.fill_null(a,0).to_numpy(zero_copy_only=False).view(np.uint64)])
    else:
        k=_core.string_keys(*text_buffers(pc.fill_null(a.cast(pa.large_string()),"")),0)
    return k,v
def pair_keys(d,c):
    a,va=id_keys(d); b,vb=id_keys(c)
    return np.hstack([a,b]), va&vb
