-- The last line of wrk's output as JSON; runs once, after the measurement.
function done(summary, latency, requests)
  local e = summary.errors
  print(string.format('{"requests": %d, "rate": %.1f, "p50": %.1f, "p99": %.1f, "errors": %d}', summary.requests,
    summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
