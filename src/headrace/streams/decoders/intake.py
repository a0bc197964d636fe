import numpy as np
import headrace.records as R
def columns(readings, names):
    t=np.array([r.time for r in readings],dtype=np.int64)
    keys={}
    for r in readings:
        for k,v in r.fields.items():
            if not isinstance(v,str): keys.setdefault(k,None)
    return R.Rows(t,{k:np.array([float(r.fields.get(k,np.nan)) for r in readings]) for k in keys})
class Deduplicator:
    def __init__(self,limit=4096): pass
    def keep(self,rows,ids): return np.ones(len(rows),bool)
    def state(self): return {}
    def load(self,s): pass
