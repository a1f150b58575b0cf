# SPDX-License-Identifier: Apache-2.0 OR MIT
# puma answers each path with itself, over TLS that it carries to its sockets itself; Net::HTTP asks from threads, each with a
# connection of its own, half of them with one for each request.

require "net/http"
require "puma"

THREADS, REQUESTS = ARGV.map(&:to_i)

context = Puma::MiniSSL::Context.new
context.cert, context.key = ENV.fetch("CERTIFICATE"), ENV.fetch("KEY")
context.verify_mode = Puma::MiniSSL::VERIFY_NONE

answer = ->(environment) { [200, {}, [environment["PATH_INFO"]]] }
server = Puma::Server.new(answer, Puma::Events.strings, min_threads: THREADS, max_threads: THREADS)
server.add_ssl_listener("127.0.0.1", 0, context)
server.run
PORT = server.connected_ports.first

def open_connection
  connection = Net::HTTP.new("127.0.0.1", PORT)
  connection.use_ssl = true
  connection.verify_mode = OpenSSL::SSL::VERIFY_NONE
  connection.start
end

def talk(round, number)
  connection = nil
  paths = (0...REQUESTS).map do |index|
    path = "/ruby/#{round}/#{number}/#{index}"
    connection ||= open_connection
    answer = connection.get(path)
    abort "a wrong answer to #{path}" unless answer.code == "200" && answer.body == path
    if number.odd?
      connection.finish
      connection = nil
    end
    path
  end
  connection&.finish
  paths
end

$stdout.sync = true
puts "ready #{PORT}"
$stdin.each_line.with_index do |_, round|
  threads = (0...THREADS).map { |number| Thread.new { talk(round, number) } }
  puts threads.flat_map(&:value), ""
end
