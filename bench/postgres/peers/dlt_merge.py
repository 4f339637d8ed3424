# SPDX-License-Identifier: Apache-2.0
"""dlt_merge.py CREDENTIALS FOLDER FILE…: loads each file with dlt's merge disposition, one line of
figures per file. The import of dlt and reading the files are not measured."""
import os
import sys
import time

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"  # read by the import
import dlt  # noqa: E402

import worker  # noqa: E402


def main():
    credentials, folder, *paths = sys.argv[1:]
    pipeline = dlt.pipeline("onerow_bench", pipelines_dir=folder, dataset_name="dlt_bench",
                            destination=dlt.destinations.postgres(credentials))
    inputs = [worker.records(path, None) for path in paths]
    worker.wait_for_start()
    for rows in inputs:
        resource = dlt.resource(rows, name="items", primary_key="k", write_disposition="merge",
                                columns={"v": {"data_type": "json"}})
        start, cpu = time.perf_counter(), worker.cpu()
        pipeline.run(resource).raise_on_failed_jobs()
        worker.told(len(rows), time.perf_counter() - start, worker.cpu() - cpu)


main()
