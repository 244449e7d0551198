# SPDX-License-Identifier: Apache-2.0
# What the Vagrantfile was asked for by the environment, and whether this machine has it:
# each thing that it lacks is one line.
class Preflight
  LIBVIRT_SOCKETS = %w[/run/libvirt/libvirt-sock /run/libvirt/virtqemud-sock].freeze
  OVERHEAD = 256 # MB that a virtual machine takes besides its memory

  attr_reader :nodes, :memory, :cpus, :libvirt_cpus, :driver

  def initialize(env, argv = ARGV)
    @env = env
    @starts = argv.any? { |word| %w[up reload resume].include?(word) }
    @nodes = number("ARPWHY_NODES", 1)
    fail_with "ARPWHY_NODES: 9 machines at most, not #{@nodes}" if @nodes > 9
    @memory = number("ARPWHY_MEMORY", 2048)
    @driver = env.fetch("ARPWHY_DRIVER", "")
    @driver = File.exist?("/dev/kvm") ? "kvm" : "qemu" if @driver.empty?
    fail_with "ARPWHY_DRIVER is kvm or qemu, not '#{@driver}'" unless %w[kvm qemu].include?(@driver)
    @cpus = number("ARPWHY_CPUS", 2)
    # Emulated by a thread a processor, guests panic while BPF is attached (QEMU 7.2).
    @libvirt_cpus = number("ARPWHY_CPUS", emulated? ? 1 : 2)
    check(provider(argv)) if @starts
  end

  def emulated?
    @driver == "qemu"
  end

  private

  def check(provider)
    enough_memory
    box_file
    case provider
    when "libvirt" then libvirt
    when "virtualbox" then virtualbox
    when nil
      fail_with "neither VirtualBox nor the plugin vagrant-libvirt is here: install one of them"
    end
  end

  def libvirt
    unless plugin?
      fail_with "the plugin vagrant-libvirt is missing: apt-get install vagrant-libvirt, " \
        "or: vagrant plugin install vagrant-libvirt"
    end
    if @env.fetch("LIBVIRT_DEFAULT_URI", "").empty? && LIBVIRT_SOCKETS.none? { |path| File.exist?(path) }
      fail_with "libvirt does not run here: apt-get install libvirt-daemon-system, " \
        "or: vagrant/with-libvirt vagrant up"
    end
    if @driver == "kvm"
      fail_with "no KVM here (/dev/kvm): for emulation, ten times slower, set ARPWHY_DRIVER=qemu" \
        unless File.exist?("/dev/kvm")
    elsif @env.fetch("ARPWHY_DRIVER", "").empty?
      warn "arpwhy: no KVM here (/dev/kvm): the machine is emulated, ten times slower"
    end
  end

  def virtualbox
    fail_with "VirtualBox is missing: install it, or: vagrant up --provider libvirt" unless virtualbox?
  end

  def enough_memory
    line = File.foreach("/proc/meminfo").grep(/^MemAvailable:/).first
    available = line[/\d+/].to_i / 1024
    wanted = (@nodes - machines) * (@memory + OVERHEAD)
    return if wanted <= available
    fail_with "not enough memory: #{wanted} MB wanted, #{available} MB available; " \
      "set ARPWHY_MEMORY (#{@memory} MB each) or ARPWHY_NODES (#{@nodes})"
  rescue Errno::ENOENT
    nil # not Linux
  end

  # How many there are already.
  def machines
    directory = File.expand_path(@env.fetch("VAGRANT_DOTFILE_PATH", ".vagrant"), __dir__)
    Dir.glob("#{directory}/machines/node[1-#{@nodes}]/*/id").size
  end

  def box_file
    box = @env.fetch("ARPWHY_BOX", "")
    return unless box.end_with?(".box") && !File.file?(box)
    fail_with "ARPWHY_BOX: there is no file #{box}: sudo vagrant/build-box makes one"
  end

  def plugin?
    Vagrant.has_plugin?("vagrant-libvirt")
  end

  def virtualbox?
    @env.fetch("PATH", "").split(File::PATH_SEPARATOR).any? do |directory|
      %w[VBoxManage VBoxManage.exe].any? { |name| File.executable?(File.join(directory, name)) }
    end || @env.key?("VBOX_MSI_INSTALL_PATH") || @env.key?("VBOX_INSTALL_PATH")
  end

  # The provider that is asked for, or the one that Vagrant takes; nil if there is none.
  def provider(argv)
    argv.each_with_index do |word, index|
      return argv[index + 1] if word == "--provider"
      return word.delete_prefix("--provider=") if word.start_with?("--provider=")
    end
    named = @env.fetch("VAGRANT_DEFAULT_PROVIDER", "")
    return named unless named.empty?
    return "virtualbox" if virtualbox?
    "libvirt" if plugin?
  end

  def number(name, default)
    text = @env.fetch(name, "")
    return default if text.empty?
    fail_with "#{name} is a number above 0, not '#{text}'" unless text.match?(/\A[1-9]\d{0,5}\z/)
    text.to_i
  end

  def fail_with(what)
    abort "arpwhy: #{what}"
  end
end
