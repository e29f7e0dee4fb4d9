-- One tools/call after the other; what came of it as one line.
wrk.method = 'POST'
wrk.headers['Content-Type'] = 'application/json'
wrk.headers['Accept'] = 'application/json, text/event-stream'
wrk.headers['MCP-Protocol-Version'] = '2025-11-25'
wrk.headers['Authorization'] = os.getenv('AUTHORIZATION')
wrk.body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}'

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('RESULT %d %d %d %d %d\n', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
